//go:build gpu

package cuda

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// imageSums reserves the places of the sums over the parts of every image, and a counter for each.
func (k *prepared) imageSums(p parts, blocks int) (parts place, counters *memory) {
	if most := 2048; p.each() > most && k.err == nil { // of add_up in src/half.h
		k.err = fmt.Errorf("%v: an image has more than %d parts of %d pixels: %w", k.Op, most, partPixels, kernel.ErrUnsupported)
	}
	return k.reserve(k.images() * blocks * p.each() * sumsOf), k.count(k.images())
}

func planHalfNormGradSums(k *prepared) {
	p, blocks := partsOf(k.H, k.W), k.Padded(k.C)/lanes
	parts, cells, counters := k.groupSums(k.N*p.each(), blocks, blocks)
	k.addHalfGradSums(p, k.arg(4), k.arg(5), 0, parts, cells, counters, k.C, k.args[4].Stride)
}

func planHalfNormSquares(k *prepared) {
	p := partsOf(k.H, k.W)
	parts, counters := k.imageSums(p, k.Padded(k.C)/lanes)
	k.addHalfGradSums(p, 0, 0, k.arg(4), parts, 0, counters, 0, 0)
}

// addHalfGradSums adds the launch that makes dgamma and dbeta, or else q.
func (k *prepared) addHalfGradSums(p parts, dgamma, dbeta, q, parts, cells, counters any, stride, sumsStride int) {
	k.addBlocks("half_norm_grad_sums", k.images()*p.each()*k.Padded(k.C)/lanes, halfThreads, 0, k.arg(0), k.arg(1), k.arg(2), k.arg(3), dgamma, dbeta, q, parts, cells, counters,
		k.N, k.C, k.H, k.W, p.rows, p.columns, stride, sumsStride, k.Repeats(), float32(k.Epsilon))
}

// normVectors is the vectors of 8 numbers that a block of half_norm_data_grad does.
const normVectors = 4 * halfThreads

func planHalfNormDataGrad(k *prepared) {
	gradient := []any{k.arg(0), k.arg(1), k.arg(2), k.arg(3), k.arg(4), k.arg(5), k.arg(6), k.stride(5), int(kernel.NormGrad), float32(k.Count)}
	k.addHalfNormDataGrad(gradient, 7)
}

func planHalfNormEvalDataGrad(k *prepared) {
	gradient := []any{k.arg(0), 0, 0, k.arg(1), k.arg(2), 0, 0, 0, int(kernel.NormEvalGrad), float32(0)}
	k.addHalfNormDataGrad(gradient, 3)
}

func (k *prepared) addHalfNormDataGrad(gradient []any, dx int) {
	blocks := k.images() * k.Padded(k.C) / lanes * ceil(2*k.plane(), normVectors)
	k.addHalf("half_norm_data_grad", blocks, 0, gradient, []any{k.arg(dx), k.N, k.C, k.plane(), normVectors, float32(k.Epsilon)})
}
