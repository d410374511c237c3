//go:build gpu

package cuda

import (
	"math"

	"github.com/dither-ml/dither/trainer/kernel"
)

// halfPlans lay out the launches of ops of half precision.
var halfPlans = map[kernel.Kind]func(*prepared){
	kernel.View:             planHalfView,
	kernel.ConvForward:      planHalfConvForward,
	kernel.NormStats:        planHalfNormStats,
	kernel.NormSums:         planHalfNormSums,
	kernel.NormForward:      planHalfNormForward,
	kernel.ReLU:             planHalfReLU,
	kernel.ReLUGrad:         planHalfReLUGrad,
	kernel.Add:              planHalfAdd,
	kernel.ShortcutForward:  planHalfShortcutForward,
	kernel.ShortcutGrad:     planHalfShortcutGrad,
	kernel.PoolForward:      planHalfPoolForward,
	kernel.PoolGrad:         planHalfPoolGrad,
	kernel.Flatten:          planHalfFlatten,
	kernel.Unflatten:        planHalfUnflatten,
	kernel.Zero:             planHalfZero,
	kernel.Gather:           planHalfGather,
	kernel.ConvDataGrad:     planHalfConvDataGrad,
	kernel.ConvWeightGrad:   planHalfConvWeightGrad,
	kernel.ConvSquares:      planHalfConvSquares,
	kernel.NormGradSums:     planHalfNormGradSums,
	kernel.NormDataGrad:     planHalfNormDataGrad,
	kernel.NormEvalDataGrad: planHalfNormEvalDataGrad,
	kernel.NormSquares:      planHalfNormSquares,
}

// bfloat16 is the nearest number, ties to even; NaN is 0x7fff, as the device makes it.
func bfloat16(v float32) uint16 {
	if v != v {
		return 0x7fff
	}
	bits := math.Float32bits(v)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// stageHalf copies the host's numbers from element `from` on into pinned memory.
func stageHalf(piece []uint16, host any, from int) {
	switch v := host.(type) {
	case []float32:
		for i := range piece {
			piece[i] = bfloat16(v[from+i])
		}
	case []float64:
		for i := range piece {
			piece[i] = bfloat16(float32(v[from+i]))
		}
	}
}

// unstageHalf is its inverse.
func unstageHalf(piece []uint16, host any, from int) {
	switch v := host.(type) {
	case []float32:
		for i, x := range piece {
			v[from+i] = math.Float32frombits(uint32(x) << 16)
		}
	case []float64:
		for i, x := range piece {
			v[from+i] = float64(math.Float32frombits(uint32(x) << 16))
		}
	}
}
