//go:build gpu

package cuda

import "github.com/dither-ml/dither/trainer/kernel"

// What src/half_weight_grad.h is written for, and src/half_fan.h.
const (
	unitTaps     = 9
	unitNumbers  = unitTaps * lanes * lanes // sums of a unit: 16 output channels, 16 input channels and up to 9 taps
	unitShared   = 4*4*unitNumbers + 16     // bytes in which the warps of a block add up theirs
	weightHead   = 32 * 16                  // bytes in front of the tiles
	weightTiles  = 72 << 10                 // bytes that tiles should fit into: two blocks of a processor
	weightPixels = 512                      // of a part at least: each of a block's 8 warps does 64 of them
	weightBlocks = 4 * multiprocessors      // of a group at most, or so: more parts take longer to add up than they save
	fanParts     = 8
	pixelBytes   = 2 * lanes
)

// weightPlan is how the weight gradient of a group is cut: each of its units into `parts` parts of `images` images, read in tiles of tileImages images, or of rows by columns pixels of one.
type weightPlan struct {
	units, images, parts      int
	tileImages, rows, columns int
	shared                    int // bytes
}

func weightPlanOf(o kernel.Op) weightPlan {
	p := weightPlan{units: ceil(o.K, lanes) * ceil(o.C, lanes) * ceil(o.R*o.R, unitTaps)}
	p.images = min(o.N, max(ceil(weightPixels, o.OutH()*o.OutW()), ceil(o.N*p.units, weightBlocks)))
	p.parts = ceil(o.N, p.images)
	p.rows, p.columns = gradTile(o, 1, 1, weightTiles)
	p.tileImages = 1
	if p.rows == o.OutH() && p.columns == o.OutW() {
		p.tileImages = max(1, min(p.images, weightTiles/tileBytes(o, p.rows, p.columns, 1, 1)))
	}
	p.shared = weightHead + p.tileImages*tileBytes(o, p.rows, p.columns, 1, 1)
	if o.Before == kernel.NormGrad {
		p.shared += p.tileImages * tileBytes(o, p.rows, p.columns, 1, 0)
	}
	p.shared = max(unitShared, p.shared)
	return p
}

// gradTile is the rows and columns of output pixels whose tiles, of so many blocks of channels of dy and of x, take no more than `most` bytes: an even share of the rows of a plane, or of a row where one is too long.
func gradTile(o kernel.Op, ks, cs, most int) (rows, columns int) {
	for high := 1; ; high++ {
		rows, columns = ceil(o.OutH(), high), o.OutW()
		if tileBytes(o, rows, columns, ks, cs) <= most {
			return rows, columns
		}
		if rows == 1 {
			break
		}
	}
	for columns > 1 && tileBytes(o, 1, columns, ks, cs) > most {
		columns = ceil(columns, 2)
	}
	return 1, columns
}

// tileBytes is what the tiles of dy and of x of one image take, each block of channels beginning like the first.
func tileBytes(o kernel.Op, rows, columns, ks, cs int) int {
	high, wide := min(o.H, (rows-1)*o.Stride+o.R), min(o.W, (columns-1)*o.Stride+o.R)
	return (ks*ceil(rows*columns, 8) + cs*ceil(high*wide, 8)) * 8 * pixelBytes
}

// fanOf is how many parts and sums of parts the fixed tree over so many parts has, without the last sum, and how many sums.
func fanOf(parts int) (nodes, sums int) {
	for n := parts; n > 1; n = ceil(n, fanParts) {
		nodes, sums = nodes+n, sums+ceil(n, fanParts)
	}
	return nodes, sums
}

// weightGradParams gives the parameters of a weight gradient into argument dw, and how many blocks it takes.
func (k *prepared) weightGradParams(p weightPlan, dw int) (params []any, blocks int) {
	var parts, tickets any = k.arg(dw), k.arg(dw) // of one part alone there are none
	if nodes, sums := fanOf(p.parts); sums > 0 {
		parts, tickets = k.reserve(k.Groups*nodes*p.units*unitNumbers), k.count(k.Groups*sums*p.units)
	}
	return []any{k.arg(dw), parts, tickets, k.args[dw].Stride, p.images, p.tileImages, p.rows, p.columns}, k.Groups * p.parts * p.units
}

// inputParams gives the parameters of the forward activation that the arguments from `at` on stand for, and the next argument; statistics of groups are so far apart.
func (k *prepared) inputParams(at, stride int) (params []any, next int) {
	x := k.arg(at)
	if k.Input != kernel.NormReLU {
		return []any{x, x, x, x, x, 0, int(kernel.Alone)}, at + 1
	}
	return []any{x, k.arg(at + 1), k.arg(at + 2), k.arg(at + 3), k.arg(at + 4), stride, int(k.Input)}, at + 5
}

// gradientParams is the same of the gradient of the convolution's output.
func (k *prepared) gradientParams(at int) (params []any, next int) {
	dy := k.arg(at)
	switch k.Before {
	case kernel.NormGrad:
		return []any{dy, k.arg(at + 1), k.arg(at + 2), k.arg(at + 3), k.arg(at + 4), k.arg(at + 5), k.arg(at + 6), k.stride(at + 5), int(k.Before), float32(k.Count)}, at + 7
	case kernel.NormEvalGrad:
		return []any{dy, dy, dy, k.arg(at + 1), k.arg(at + 2), dy, dy, 0, int(k.Before), float32(0)}, at + 3
	}
	return []any{dy, dy, dy, dy, dy, dy, dy, 0, int(kernel.Alone), float32(0)}, at + 1
}

// convParams are the shapes.
func (k *prepared) convParams() []any {
	return []any{k.N, k.C, k.H, k.W, k.K, k.R, k.Stride, k.OutH(), k.OutW()}
}

func planHalfConvWeightGrad(k *prepared) {
	p := weightPlanOf(k.Op)
	input, next := k.inputParams(0, k.C)
	gradient, next := k.gradientParams(next)
	to, blocks := k.weightGradParams(p, next)
	k.addHalf("half_conv_weight_grad", blocks, p.shared, input, gradient, to, k.convParams(), []any{float32(k.Epsilon)})
}

// addHalf adds a launch of so many blocks of halfThreads threads.
func (k *prepared) addHalf(name string, blocks, shared int, params ...[]any) {
	var all []any
	for _, p := range params {
		all = append(all, p...)
	}
	k.addBlocks(name, blocks, halfThreads, shared, all...)
}
