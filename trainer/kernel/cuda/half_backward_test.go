//go:build gpu

package cuda

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func back(kind kernel.Kind, o kernel.Op, fusions ...kernel.Fusion) kernel.Op {
	o.Kind, o.Epsilon = kind, 1e-5
	for i, to := range []*kernel.Fusion{&o.Input, &o.Before, &o.After, &o.Beside} {
		if i < len(fusions) {
			*to = fusions[i]
		}
	}
	if o.Before == kernel.NormGrad {
		o.Count = o.N * o.OutH() * o.OutW()
	}
	return o
}

func repeated(o kernel.Op, repeat int) kernel.Op {
	o.N, o.Repeat = o.N*repeat, repeat
	return o
}

// Shapes that are rare among the suite's, or too large for it: parts of weights in trees of two and three levels, images in pieces, many parts and gradients for a block of threads, windows whose weights come in pieces.
func TestBackwardShapesApart(t *testing.T) {
	if testing.Short() {
		t.Skip("slow in software")
	}
	ops := []kernel.Op{
		back(kernel.ConvWeightGrad, conv(2, 75, 2, 23, 23, 3, 1, 1)),
		back(kernel.ConvWeightGrad, conv(1, 20, 17, 24, 24, 17, 3, 1), kernel.NormReLU, kernel.NormGrad),
		back(kernel.ConvWeightGrad, conv(1, 1, 17, 4, 901, 5, 3, 1), kernel.NormReLU),
		back(kernel.ConvWeightGrad, conv(1, 2, 3, 40, 40, 5, 17, 1)),
		back(kernel.ConvDataGrad, conv(1, 1, 5, 9, 200, 20, 3, 1), 0, kernel.NormGrad, kernel.ReLUNormSums),
		back(kernel.ConvDataGrad, conv(1, 1, 20, 70, 67, 3, 5, 2), 0, 0, kernel.AddReLUNormSums),
		back(kernel.ConvDataGrad, conv(1, 1, 2, 20, 20, 40, 17, 1)),
		back(kernel.ConvDataGrad, conv(1, 1, 2, 6, 7, 3, 51, 1)),
		back(kernel.ConvDataGrad, conv(1, 2, 18, 4, 5, 900, 3, 1), 0, kernel.NormGrad, kernel.ReLUNormSums),
		back(kernel.ConvDataGrad, conv(2, 300, 3, 2, 3, 2, 3, 1), 0, 0, kernel.ReLUNormSums),
		back(kernel.ConvDataGrad, conv(1, 600, 3, 2, 2, 2, 1, 1), 0, 0, kernel.AddReLUNormSums, kernel.WeightGrad),
		repeated(back(kernel.ConvDataGrad, conv(1, 150, 3, 2, 2, 2, 1, 1), 0, 0, kernel.AddReLUNormSquares), 4),
		repeated(back(kernel.ConvDataGrad, conv(1, 1, 18, 17, 40, 2, 3, 1), 0, kernel.NormEvalGrad, kernel.ReLUNormSquares), 2),
		repeated(back(kernel.ConvSquares, conv(1, 1, 36, 32, 32, 70, 3, 1), kernel.NormReLU), 2),
		repeated(back(kernel.ConvSquares, conv(1, 1, 3, 70, 90, 2, 5, 1), 0, kernel.NormEvalGrad), 2),
		repeated(back(kernel.ConvSquares, conv(1, 100, 2, 3, 3, 17, 3, 1), kernel.NormReLU), 5),
		back(kernel.NormGradSums, kernel.Op{Groups: 2, N: 600, C: 3, H: 2, W: 2, Half: true, Block: lanes}),
		repeated(back(kernel.NormSquares, kernel.Op{Groups: 1, N: 1, C: 20, H: 90, W: 90, Half: true, Block: lanes}), 2),
		back(kernel.ConvDataGrad, conv(1, 2, 16, 32, 32, 16, 3, 1), kernel.NormReLU, kernel.NormGrad, kernel.AddReLUNormSums, kernel.WeightGrad),
		back(kernel.ConvDataGrad, conv(1, 2, 32, 16, 16, 64, 3, 2)),
		back(kernel.ConvWeightGrad, conv(1, 9, 64, 8, 8, 64, 3, 1)),
		back(kernel.ConvDataGrad, conv(1, 125, 64, 8, 8, 3, 3, 1)),
		back(kernel.ConvDataGrad, conv(1, 125, 32, 16, 16, 2, 3, 1), 0, 0, kernel.ReLUNormSums),
		back(kernel.NormDataGrad, kernel.Op{Groups: 1, N: 1, C: 3, H: 70, W: 90, Count: 6300, Half: true, Block: lanes}),
	}
	data := func(is func(o kernel.Op, c dataCut) bool) func(kernel.Op) bool {
		return func(o kernel.Op) bool { return o.Kind == kernel.ConvDataGrad && is(o, cutDataGrad(o)) }
	}
	weights := func(is func(o kernel.Op, p weightPlan) bool) func(kernel.Op) bool {
		return func(o kernel.Op) bool { return o.Kind == kernel.ConvWeightGrad && is(o, weightPlanOf(o)) }
	}
	squares := func(is func(o kernel.Op, p squaresPlan) bool) func(kernel.Op) bool {
		return func(o kernel.Op) bool { return o.Kind == kernel.ConvSquares && is(o, squaresPlanOf(o)) }
	}
	for what, is := range map[string]func(kernel.Op) bool{
		"a tree of three levels":        weights(func(_ kernel.Op, p weightPlan) bool { return p.parts > fanParts*fanParts }),
		"a tile of rows":                weights(func(o kernel.Op, p weightPlan) bool { return p.rows < o.OutH() && p.columns == o.OutW() }),
		"a tile of part of a row":       weights(func(o kernel.Op, p weightPlan) bool { return p.columns < o.OutW() }),
		"several images a tile":         weights(func(_ kernel.Op, p weightPlan) bool { return p.tileImages > 1 }),
		"parts that are no whole rows":  data(func(o kernel.Op, c dataCut) bool { return c.columns < o.W }),
		"weights in pieces of taps":     data(func(o kernel.Op, c dataCut) bool { return c.taps < o.R*o.R }),
		"chunks of channels":            data(func(o kernel.Op, c dataCut) bool { return c.chunk*lanes < o.K }),
		"several parts a block":         data(func(_ kernel.Op, c dataCut) bool { return c.share > 1 }),
		"several cells of parts":        data(func(o kernel.Op, c dataCut) bool { return o.N*c.each() > cellParts }),
		"four blocks of channels":       data(func(_ kernel.Op, c dataCut) bool { return c.slice == 4 && c.mt == 2 && c.nt == 1 }),
		"two by two for a warp":         data(func(_ kernel.Op, c dataCut) bool { return c.slice == 2 && c.mt == 2 && c.nt == 2 }),
		"images in pieces":              squares(func(_ kernel.Op, p squaresPlan) bool { return !p.whole }),
		"several gradients of an image": squares(func(_ kernel.Op, p squaresPlan) bool { return p.share > 1 }),
	} {
		if !slices.ContainsFunc(ops, is) {
			t.Errorf("no shape has %s", what)
		}
	}
	kerneltest.Hold(t, openWith(t, Options{Half: true}), 1, ops...)
}

// However they are cut, gradients have the shared memory, the warps and the trees for it.
func TestBackwardCutsFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		o := conv(1+r.IntN(4), 1+r.IntN(300), 1+r.IntN(600), 1+r.IntN(300), 1+r.IntN(300), 1+r.IntN(600), 1+2*r.IntN(8), 1+r.IntN(4))
		d, w, s := cutDataGrad(o), weightPlanOf(o), squaresPlanOf(o)
		if d.shared > mostShared || ceil(ceil(d.rows*d.columns, lanes), d.mt)*ceil(d.slice, d.nt) > warpsOf || cellParts%d.share != 0 || d.slices*d.slice*lanes < o.C || d.shares*d.share < o.N*d.each() {
			t.Fatalf("%v: data gradient %+v", o, d)
		}
		if w.shared > mostShared || w.images*w.parts < o.N || w.images*(w.parts-1) >= o.N || w.rows < 1 || w.columns < 1 {
			t.Fatalf("%v: weight gradient %+v", o, w)
		}
		if s.shared > mostShared || s.whole && (s.rows < o.OutH() || s.columns < o.OutW()) || s.split < 1 || warpsOf%s.split != 0 {
			t.Fatalf("%v: squares %+v", o, s)
		}
		one := o
		one.Groups, one.N = 1, 1
		if e := cutDataGrad(one); e.chunk != d.chunk || e.taps != d.taps || e.parts != d.parts {
			t.Fatalf("%v: other sums than for one image", o)
		}
	}
}

// ResNet-56's gradients fill an H200 at batch 64, and their parts of weights are no more than their images at batch 1024.
func TestGradientsFillTheGPU(t *testing.T) {
	for _, o := range []kernel.Op{
		conv(1, 64, 3, 32, 32, 16, 3, 1), conv(1, 64, 16, 32, 32, 16, 3, 1), conv(1, 64, 16, 32, 32, 32, 3, 2), conv(1, 64, 32, 16, 16, 32, 3, 1), conv(1, 64, 32, 16, 16, 64, 3, 2),
		conv(1, 64, 64, 8, 8, 64, 3, 1), conv(1, 64, 16, 32, 32, 32, 1, 2), conv(1, 64, 32, 16, 16, 64, 1, 2),
	} {
		line := fmt.Sprintf("%2dx%dx%-2d to %2dx%dx%-2d", o.H, o.W, o.C, o.OutH(), o.OutW(), o.K)
		for _, o.N = range []int{64, 1024} {
			o.Kind, o.Before, o.After = kernel.ConvDataGrad, kernel.NormGrad, kernel.AddReLUNormSums
			d, w := cutDataGrad(o), weightPlanOf(o)
			blocks := d.slices * d.shares
			if blocks < multiprocessors*9/10 {
				t.Errorf("%v: %d blocks for %d multiprocessors", o, blocks, multiprocessors)
			}
			if max(d.shared, w.shared) > blockShared {
				t.Errorf("%v: %d and %d bytes of shared memory a block", o, d.shared, w.shared)
			}
			line += fmt.Sprintf("  %4d, %2d, %d, %dx%d, %6d + %4d, %2d, %6d", blocks, d.share, d.slice, d.mt, d.nt, d.shared, w.parts*w.units, w.images, w.shared)
		}
		t.Log(line)
	}
}
