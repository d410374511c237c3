//go:build gpu

package cuda

import (
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// dataCut is how the gradient of a convolution's input is cut: see src/half_data_grad.h.
type dataCut struct {
	parts
	chunk, taps             int // a function of the convolution's shape alone, since the order of its sums is
	slice, share            int // blocks of input channels, and parts, of a block of threads
	slices, shares          int // of a group
	mt, nt                  int // of a warp: times 16 pixels, times 16 channels
	weightsAt, tileAt       int // vectors of 16 bytes in front
	normAt, behindAt, runAt int
	shared                  int // bytes
}

// cutDataGrad cuts as coarsely as it may where an H200 is filled all the same.
func cutDataGrad(o kernel.Op) dataCut {
	c := dataCut{parts: partsOf(o.H, o.W)}
	in, out := o.Padded(o.C)/lanes, o.Padded(o.K)/lanes
	c.chunk = max(1, min(out, tileShared/c.tileBytes(o)))
	c.taps = max(1, min(o.R*o.R, tileShared/(c.chunk*lanes*weightRow(1))))
	if c.taps < o.R*o.R { // rather fewer channels than fewer taps
		c.chunk = max(1, min(c.chunk, tileShared/(o.R*o.R*lanes*weightRow(1))))
		c.taps = max(1, min(o.R*o.R, tileShared/(c.chunk*lanes*weightRow(1))))
	}
	total := o.Groups * o.N * c.each()
	for _, c.slice = range []int{4, 2, 1} {
		c.slices = ceil(in, c.slice)
		if c.slice > 1 && (c.slice >= 2*in || total*c.slices < multiprocessors*9/10 || !c.chooseWarps()) {
			continue
		}
		if c.place(o, in, out); c.slice == 1 || c.shared <= blockShared {
			break
		}
	}
	c.chooseWarps()
	resident := max(min(smShared/(c.shared+1<<10), 2), 1)
	for c.share = 1; c.share < 16 && total*c.slices/(2*c.share) >= multiprocessors*resident; {
		c.share *= 2
	}
	c.shares = ceil(o.N*c.each(), c.share)
	return c
}

// tileBytes is what a block of channels of the tile takes.
func (c *dataCut) tileBytes(o kernel.Op) int {
	met := func(pixels, of int) int { return min(of, (pixels+o.R-2)/o.Stride+1) }
	return ceil(met(c.rows, o.OutH())*met(c.columns, o.OutW()), 8) * 8 * pixelBytes
}

// weightRow is the bytes of a row of weights of so many blocks of input channels.
func weightRow(blocks int) int { return blocks*pixelBytes + 16 }

// chooseWarps shares a part and a slice out among the warps, and says whether they are enough.
func (c *dataCut) chooseWarps() bool {
	pixels := ceil(c.rows*c.columns, lanes)
	for _, w := range [][2]int{{1, 1}, {2, 1}, {2, 2}} {
		if c.mt, c.nt = w[0], w[1]; ceil(pixels, c.mt)*ceil(c.slice, c.nt) <= warpsOf {
			return true
		}
	}
	return false
}

// place finds the places in shared memory of a block: a vector of zeros, coefficients of dy and of the slice, weights, the tile (later dx, and what sums take), what was normalised, what stands behind, the sums of runs.
func (c *dataCut) place(o kernel.Op, in, out int) {
	coefficients := 4 * 3 * lanes * c.slice
	if o.Before != kernel.Alone {
		coefficients += 4 * 3 * lanes * out
	}
	c.weightsAt = ceil(1+coefficients/16, 8) * 8
	c.tileAt = ceil(c.weightsAt+c.taps*c.chunk*lanes*weightRow(c.slice)/16, 8) * 8
	tile := max(c.chunk*c.tileBytes(o), c.slice*c.rows*c.columns*pixelBytes, sumsScratch(c.slice))
	behind := c.slice * ceil(c.rows*c.columns, 8) * 8 * pixelBytes
	switch o.After {
	case kernel.Alone:
		behind = 0
	case kernel.AddReLUNormSums, kernel.AddReLUNormSquares:
		behind *= 3
	}
	c.normAt = c.tileAt + ceil(tile, 16)
	if c.behindAt = c.normAt; o.Before == kernel.NormGrad {
		c.behindAt += c.chunk * c.tileBytes(o) / 16
	}
	c.runAt = c.behindAt + behind/16
	c.shared = 16*c.runAt + 4*c.slice*(partPixels/32)*sumsOf
}

// resultParams gives the parameters of what becomes of dx, whose arguments begin at `at`, and the argument behind its results; the inputs in between are `skipped` more.
func (k *prepared) resultParams(c dataCut, at, skipped int) (params []any, next int) {
	blocks, n := k.Padded(k.C)/lanes, k.N*c.each()
	adds := k.After == kernel.AddReLUNormSums || k.After == kernel.AddReLUNormSquares
	var r, z, xn, mean, variance, gamma, beta, dgamma, dbeta, q, parts, cells, counters any = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
	stride, sumsStride := k.C, 0
	if adds {
		r, z = k.arg(at), k.arg(at+1)
		at += 2
	}
	if k.After != kernel.Alone {
		xn, mean, variance = k.arg(at), k.arg(at+1), k.arg(at+2)
		at += 3
		if !adds {
			gamma, beta = k.arg(at), k.arg(at+1)
			at += 2
		}
	}
	at += skipped
	g := k.arg(at)
	next = at + 1
	switch k.After {
	case kernel.ReLUNormSums, kernel.AddReLUNormSums:
		dgamma, dbeta, sumsStride = k.arg(next), k.arg(next+1), k.args[next].Stride
		parts, cells, counters = k.groupSums(n, blocks, c.slices)
		next += 2
	case kernel.ReLUNormSquares, kernel.AddReLUNormSquares:
		q, stride = k.arg(next), 0
		parts, counters = k.imageSums(c.parts, blocks)
		next++
	}
	return []any{g, int(k.After), r, z, xn, mean, variance, gamma, beta, dgamma, dbeta, q, parts, cells, counters, stride, sumsStride, k.Repeats()}, next
}

// params are the numbers that src/half_conv_grad.cu takes of the cut.
func (c dataCut) params() []any {
	return []any{c.rows, c.columns, c.chunk, c.taps, c.slice, c.share, c.mt, c.nt, c.weightsAt, c.tileAt, c.normAt, c.behindAt, c.runAt}
}

func planHalfConvDataGrad(k *prepared) {
	c := cutDataGrad(k.Op)
	blocks, epsilon := k.Groups*c.shares*c.slices, []any{float32(k.Epsilon)}
	gradient, w := k.gradientParams(0)
	if k.Beside == kernel.Alone {
		result, _ := k.resultParams(c, w+1, 0)
		k.addHalf("half_conv_data_grad", blocks, c.shared, gradient, []any{k.arg(w)}, result, c.params(), k.convParams(), epsilon)
		return
	}
	p := weightPlanOf(k.Op)
	inputs := 1
	if k.Input != kernel.Alone {
		inputs = 5
	}
	result, dw := k.resultParams(c, w+1, inputs)
	input, _ := k.inputParams(k.firstOutput()-inputs, k.C)
	to, weights := k.weightGradParams(p, dw)
	weightTurn, dataTurn := max(weights/blocks, 1), max(blocks/weights, 1)
	turns := min(weights/weightTurn, blocks/dataTurn)
	k.addHalf("half_conv_grads", weights+blocks, max(p.shared, c.shared), []any{weightTurn, dataTurn, turns, weights}, input, gradient, to, []any{k.arg(w)}, result, c.params(), k.convParams(), epsilon)
}

// firstOutput is the first argument that is not read alone.
func (k *prepared) firstOutput() int {
	return slices.IndexFunc(k.args, func(a kernel.Arg) bool { return a.Access != kernel.In })
}
