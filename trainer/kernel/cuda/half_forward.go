//go:build gpu

package cuda

import (
	"fmt"
	"math"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Bytes of shared memory: what a tile or the weights of one block of channels may take, and a block of threads where there is a choice.
const (
	tileShared  = 64 << 10
	blockShared = 112 << 10
	smShared    = 227 << 10 // of a multiprocessor
)

// forwardCut is how a forward convolution is cut: see src/half_forward.h.
type forwardCut struct {
	parts
	span, step, chunk int // of the tile: a function of the convolution's shape alone, since the order of its sums is
	slice, share      int // blocks of output channels, and parts, of a block of threads
	slices, shares    int // of a group
	mt, nt            int // of a warp: times 16 pixels, times 16 channels
	high              int // warps above each other in a part
	tile, weights     int // bytes of shared memory
	shared            int // in all
}

// cutForward cuts as coarsely as it may where an H200 is filled all the same.
func cutForward(o kernel.Op) forwardCut {
	c := forwardCut{parts: partsOf(o.OutH(), o.OutW())}
	in, out := o.Padded(o.C)/lanes, o.Padded(o.K)/lanes
	c.chooseTile(o, in)
	total := o.Groups * o.N * c.each()
	for _, c.slice = range []int{4, 2, 1} {
		c.slices = ceil(out, c.slice)
		fits := c.chooseWarps(o)
		c.addShared(in)
		if c.slice == 1 || fits && !c.passes(o) && c.slice < 2*out && total*c.slices >= multiprocessors*9/10 && c.shared <= blockShared {
			break
		}
	}
	resident := 3 // blocks of threads on a multiprocessor: what the kernels' registers leave room for, and shared memory does
	if c.mt*c.nt > 2 || c.passes(o) {
		resident = 2
	}
	resident = max(min(smShared/(c.shared+1<<10), resident), 1)
	c.chooseShare(total, multiprocessors*resident)
	c.shares = ceil(o.N*c.each(), c.share)
	return c
}

// chooseShare weighs turns of so many blocks at a time, each with the work to begin, against blocks that wait for others at the end.
func (c *forwardCut) chooseShare(total, atOnce int) {
	part := c.tile + c.result()
	least := math.MaxInt
	for share := 1; share <= 16; share *= 2 {
		if cost := ceil(ceil(total, share)*c.slices, atOnce) * (share*part + c.weights + 8<<10); cost < least {
			c.share, least = share, cost
		}
	}
}

// result is the bytes of a part of y in shared memory.
func (c *forwardCut) result() int { return c.high * c.mt * 16 * (32*c.slice + 16) }

// chooseTile takes a tile for all taps, and as many channels as there are, where that fits.
func (c *forwardCut) chooseTile(o kernel.Op, in int) {
	for _, c.span = range []int{o.R, 1} {
		c.step = o.Stride
		if c.span == 1 {
			c.step = 1
		}
		for c.chunk = min(in, 8); c.chunk > 0; c.chunk-- {
			pixel := 32*c.chunk + 16
			c.tile = ((c.rows-1)*c.step + c.span) * ((c.columns-1)*c.step + c.span) * pixel
			c.weights = c.span * c.span * lanes * pixel // of a slice of 1
			if c.tile <= tileShared && c.weights <= tileShared {
				return
			}
		}
	}
	panic(fmt.Sprintf("kernel: a tile of one tap of %v does not fit", o)) // 256 pixels of a block of channels always do
}

// chooseWarps gives each warp as little as will do; it says whether that can be.
func (c *forwardCut) chooseWarps(o kernel.Op) bool {
	pixels, least := ceil(c.rows*c.columns, 16), 0
	if c.passes(o) {
		least = 1
	}
	for _, w := range [][2]int{{1, 1}, {2, 1}, {2, 2}}[least:] {
		c.mt, c.nt = w[0], w[1]
		if c.high = ceil(pixels, c.mt); c.high*ceil(c.slice, c.nt) <= warpsOf {
			return true
		}
	}
	return false
}

// addShared adds up the shared memory of the slice: tile, or what the group's sums take; weights; y; the sums of runs; shift; scale and bias.
func (c *forwardCut) addShared(in int) {
	pixel := 32*c.chunk + 16
	c.tile = max(((c.rows-1)*c.step+c.span)*((c.columns-1)*c.step+c.span)*pixel, sumsScratch(c.slice))
	c.weights = c.span * c.span * lanes * c.slice * pixel
	c.shared = c.tile + c.weights + c.result() + 4*c.slice*(partPixels/32)*sumsOf + 4*c.slice*lanes + 8*in*lanes
}

// passes says whether a tile for all taps and channels is too much.
func (c *forwardCut) passes(o kernel.Op) bool { return c.span < o.R || c.chunk < o.Padded(o.C)/lanes }

// kernel is the one for it.
func (c *forwardCut) kernel(o kernel.Op) string {
	if c.passes(o) {
		return "half_conv_forward_passes"
	}
	return fmt.Sprintf("half_conv_forward_%dx%d", c.mt, c.nt)
}

// covers says whether the tiles hold every pixel of the input, so that z comes about on the way.
func (c *forwardCut) covers(o kernel.Op) bool { return c.span == o.R && o.R/2 >= o.Stride-1 }

func planHalfConvForward(k *prepared) {
	next := 0
	take := func() place { next++; return k.arg(next - 1) }
	var mean, variance, gamma, beta, r, z, shift, outMean, outVariance, record, sums any = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
	before, after, normStride, recordStride, sumsStride := 0, 0, 0, 0, 0

	x := take()
	if k.Before != kernel.Alone {
		before, normStride = 1, k.stride(next)
		mean, variance, gamma, beta = take(), take(), take(), take()
	}
	if k.Before == kernel.NormAddReLU {
		before, r = 2, take()
	}
	w := take()
	if k.After != kernel.Alone {
		shift = take()
	}
	if before == 2 {
		z = take()
	}
	y := take()
	switch k.After {
	case kernel.Stats:
		after, recordStride = 1, k.args[next+2].Stride
		outMean, outVariance, record = take(), take(), take()
	case kernel.Sums:
		after, sumsStride = 2, k.args[next].Stride
		sums = take()
	}

	c := cutForward(k.Op)
	if !divides(k.N*c.each(), c.each()) || !divides(k.Groups*c.shares, c.shares) {
		k.err = fmt.Errorf("%v: too many images, or too large ones: use a smaller batch: %w", k.Op, kernel.ErrUnsupported)
		return
	}
	if before == 2 && !c.covers(k.Op) {
		k.addHalfNorm(x, mean, variance, gamma, beta, r, z, normStride)
		before, x = 0, z.(place)
	}
	tile, threads := (c.columns-1)*c.step+c.span, halfThreads/2/c.chunk // a tile's columns; threads that copy the pixels of a block of channels
	var partSums, cells, counters any = 0, 0, 0
	if after != 0 {
		partSums, cells, counters = k.groupSums(k.N*c.each(), k.Padded(k.K)/lanes, c.slices)
	}
	k.addBlocks(c.kernel(k.Op), k.Groups*c.slices*c.shares, halfThreads, c.shared,
		x, mean, variance, gamma, beta, r, w, shift, z, y, outMean, outVariance, record, sums, partSums, cells, counters,
		k.N, k.C, k.H, k.W, k.K, k.R, k.Stride, k.OutH(), k.OutW(), c.rows, c.columns, c.span, c.step, c.chunk, c.slice, c.share, c.high,
		c.wide, c.each(), c.slices, c.shares, magic(c.columns), tile, magic(tile), magic(c.wide), magic(c.each()), magic(c.slices), magic(c.shares), threads, magic(threads), magic(2*c.chunk), magic(lanes*c.slice), magic(c.high),
		c.tile, c.weights,
		before, after, normStride, recordStride, sumsStride, float32(k.Epsilon))
}
