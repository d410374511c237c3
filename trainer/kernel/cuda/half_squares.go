//go:build gpu

package cuda

import "github.com/dither-ml/dither/trainer/kernel"

// squaresPlan is how the squared norms of images' weight gradients are cut: see src/half_conv_squares.cu. All but share is a function of the shape of an image's gradient alone.
type squaresPlan struct {
	whole                 bool // a block has an image with all channels in shared memory
	units, split, share   int
	rows, columns         int // of a tile
	inputsAt, gradientsAt int // vectors of 16 bytes in front
	normAt, sumsAt        int
	blocks                int // of threads
	shared                int // bytes
}

func squaresPlanOf(o kernel.Op) squaresPlan {
	ks, cs := ceil(o.K, lanes), ceil(o.C, lanes)
	p := squaresPlan{whole: true, units: ks * cs * ceil(o.R*o.R, unitTaps), split: 8, share: 1, rows: o.OutH(), columns: o.OutW()}
	for p.split > 1 && p.split*p.units > warpsOf {
		p.split /= 2
	}
	if p.place(o, ks, cs); p.shared > blockShared {
		p.whole, p.split, p.blocks = false, 8, o.Groups*o.N*p.units
		p.rows, p.columns = gradTile(o, 1, 1, tileShared)
		p.place(o, 1, 1)
		return p
	}
	images := o.Groups * o.N / o.Repeats()
	for p.share < o.Repeats() && images*ceil(o.Repeats(), p.share+1) >= 2*multiprocessors {
		p.share++
	}
	p.blocks = images * ceil(o.Repeats(), p.share)
	return p
}

// place finds the places in shared memory: a vector of zeros and coefficients, the tiles of x, of dy and of what was normalised, what warps add up in.
func (p *squaresPlan) place(o kernel.Op, ks, cs int) {
	p.inputsAt = ceil(1+(ks+cs)*3*lanes/4, 16) * 16
	x, dy := tileBytes(o, p.rows, p.columns, 0, cs), tileBytes(o, p.rows, p.columns, ks, 0)
	p.gradientsAt = p.inputsAt + x/16
	p.normAt = p.gradientsAt + dy/16
	if p.sumsAt = p.normAt; o.Before == kernel.NormGrad {
		p.sumsAt += dy / 16
	}
	p.shared = 16*p.sumsAt + 64
	if p.split > 1 {
		p.shared = 16*p.sumsAt + unitShared
	}
}

func planHalfConvSquares(k *prepared) {
	p := squaresPlanOf(k.Op)
	input, next := k.inputParams(0, 0)
	gradient, q := k.gradientParams(next)
	var squares, counters any = 0, 0
	if !p.whole {
		squares, counters = k.reserve(k.images()*p.units), k.count(k.images())
	}
	k.addHalf("half_conv_squares", p.blocks, p.shared, input, gradient,
		[]any{k.arg(q), squares, counters, p.whole, p.split, p.share, k.Repeats(), p.rows, p.columns, p.inputsAt, p.gradientsAt, p.normAt, p.sumsAt}, k.convParams(), []any{float32(k.Epsilon)})
}
