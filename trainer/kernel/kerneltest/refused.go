package kerneltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// refused are ops that make no sense, which every set refuses.
var refused = []kernel.Op{
	{Kind: 0, Groups: 1, N: 1, C: 1, H: 1, W: 1},
	{Kind: 200, Groups: 1, N: 1, C: 1, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 0, N: 1, C: 1, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 0, C: 1, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 1, C: 0, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 1, C: 1, H: 0, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 1, C: 1, H: 1, W: -1},
	{Kind: kernel.Add, Groups: 1 << 20, N: 1 << 20, C: 1 << 20, H: 1 << 20, W: 1},
	{Kind: kernel.View, Groups: 1, N: 1, C: 3, H: 4, W: 4, Pad: -1},
	{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 2, Stride: 1},
	{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 0, Stride: 1},
	{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 3, Stride: 0},
	{Kind: kernel.ConvDataGrad, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 0, R: 3, Stride: 1},
	{Kind: kernel.ConvWeightGrad, Groups: 2, N: 1, C: 1, H: 4, W: 4, K: 1, R: 3, Stride: 1, GroupStride: 8},
	{Kind: kernel.ConvWeightGrad, Groups: 2, N: 1, C: 1, H: 4, W: 4, K: 1, R: 3, Stride: 1, GroupStride: -1},
	{Kind: kernel.ConvSquares, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 4, Stride: 1},
	{Kind: kernel.NormStats, Groups: 1, N: 1, C: 3, H: 1, W: 1},
	{Kind: kernel.NormStats, Groups: 2, N: 2, C: 3, H: 1, W: 1, RecordStride: 5},
	{Kind: kernel.NormFinish, Groups: 1, C: 3, Count: 1},
	{Kind: kernel.NormForward, Groups: 2, N: 2, C: 3, H: 1, W: 1, GroupStride: -2},
	{Kind: kernel.NormForward, Groups: 2, N: 2, C: 3, H: 1, W: 1, Epsilon: -1},
	{Kind: kernel.NormDataGrad, Groups: 2, N: 2, C: 3, H: 1, W: 1, Epsilon: 1},
	{Kind: kernel.ShortcutForward, Groups: 1, N: 1, C: 3, H: 4, W: 4, K: 2, Stride: 1},
	{Kind: kernel.ShortcutGrad, Groups: 1, N: 1, C: 3, H: 4, W: 4, K: 4, Stride: 0},
	{Kind: kernel.LinearForward, Groups: 1, N: 1, C: 3, H: 2, W: 1, K: 2},
	{Kind: kernel.LinearForward, Groups: 1, N: 1, C: 3, H: 1, W: 1, K: 0},
	{Kind: kernel.KDGrad, Groups: 1, N: 1, K: 3, Scale: 1},
	{Kind: kernel.CEForward, Groups: 1, N: 1, K: 0, Scale: 1},
	{Kind: kernel.OneHot, Groups: 1, N: 1, K: 3},
	{Kind: kernel.GaussianNoise, Groups: 1, N: 1, K: 0, Scale: 1},
	{Kind: kernel.GaussianNoise, Groups: 1, N: 1, K: 3, Scale: -1},
	{Kind: kernel.SymmetricNoise, Groups: 1, N: 1, K: 1},
	{Kind: kernel.SymmetricNoise, Groups: 1, N: 1, K: 3, Scale: 1.5},
}

func refuses(t *testing.T, set kernel.Set) {
	for _, op := range append(foreign(set.Traits()), refused...) {
		_, err := set.Prepare(op)
		if !errors.Is(err, kernel.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), op.String()) {
			t.Errorf("Prepare of %+v gave %v, want an error that names it and wraps ErrUnsupported", op, err)
		}
	}
}

// foreign are ops that make sense, but not to a set of these traits.
func foreign(traits kernel.Traits) []kernel.Op {
	conv := kernel.Op{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 3, H: 4, W: 4, K: 5, R: 3, Stride: 1, Block: traits.Block + 1}
	pool := kernel.Op{Kind: kernel.PoolForward, Groups: 1, N: 1, C: 3, H: 4, W: 4, Block: traits.Block * 2}
	relu := kernel.Op{Kind: kernel.ReLU, Groups: 1, N: 1, C: 3, H: 4, W: 4, Block: traits.Block + 1}
	ops := []kernel.Op{conv, pool, relu}
	if traits.Block > 1 {
		pool.Block = 0
		ops = append(ops, pool)
	}
	if !traits.Fuses {
		for i, what := range fusions() {
			ops = append(ops, owned(traits, fused(rand.New(rand.NewPCG(1, uint64(i))), what)))
		}
	}
	return ops
}
