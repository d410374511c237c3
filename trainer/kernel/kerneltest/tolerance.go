package kerneltest

import (
	"math"

	"github.com/dither-ml/dither/trainer/kernel"
)

// rounding is that of float32: half of what its last bit is worth.
const rounding = 6e-8

// halfRounding is bfloat16's.
const halfRounding = 0x1p-8

// chained is what a chain of so many random terms is off by, for float32 that rounds every operation, as the norm of the difference over the norm: the square root of
// their number in roundings or so.
func chained(terms float64) float64 { return 4 * rounding * (1 + math.Sqrt(terms)) }

// winograd is what a convolution by F(4x4, 3x3) may be off by: with the points 0, 3/4, -3/4, 3/2, -3/2 and infinity the worst of 400 random shapes of this suite was off
// by 8.1e-7 forward, 9.7e-7 back to x and 7.0e-7 back to w. Chains of float32 do better on these shapes.
const winograd = 2e-6

// terms is how many an output adds up.
func terms(op kernel.Op) float64 {
	pixels := max(op.N*op.H*op.W, op.N)
	switch op.Kind {
	case kernel.ConvForward:
		return float64(op.C * op.R * op.R)
	case kernel.ConvDataGrad:
		return float64(op.K * op.R * op.R)
	case kernel.ConvWeightGrad, kernel.ConvSquares, kernel.NormStats, kernel.NormSums, kernel.NormGradSums, kernel.LinearWeightGrad, kernel.LinearBiasGrad,
		kernel.QuadraticForward, kernel.KDForward, kernel.CEForward:
		return float64(pixels)
	case kernel.NormSquares:
		return float64(pixels + op.C)
	case kernel.PoolForward:
		return float64(op.H * op.W)
	case kernel.LinearForward:
		return float64(op.C)
	case kernel.LinearDataGrad:
		return float64(op.K)
	case kernel.LinearSquares:
		return float64(op.C + op.K)
	}
	return 0
}

// tolerance is how far an output may be off, as a part of its norm. Kinds that only choose and copy are exact.
func tolerance(op kernel.Op) float64 {
	limit := chained(terms(op))
	switch op.Kind {
	case kernel.ReLU, kernel.ReLUGrad, kernel.ShortcutForward, kernel.ShortcutGrad, kernel.Flatten, kernel.Unflatten, kernel.Correct, kernel.OneHot, kernel.Zero, kernel.Gather, kernel.SymmetricNoise:
		return 0
	case kernel.ConvForward, kernel.ConvDataGrad, kernel.ConvWeightGrad, kernel.ConvSquares:
		if op.R == 3 && op.Stride == 1 && op.C >= 8 && op.K >= 8 {
			limit = winograd
		}
	}
	if op.Kind == kernel.ConvSquares { // a square is off by twice as much; 16 chains add them up
		limit = 2*limit + chained(float64(op.K*op.C*op.R*op.R)/16)
	}
	return limit
}

// allowed is how far each output may be off: its tolerance times its norm, or times the norm that its terms let expect, because the roundings of terms that cancel stay.
func (s *subject) allowed(oracle kernel.Set, want []data) []float64 {
	args := s.op.Args()
	norms := make([]float64, len(args))
	for i, a := range args {
		if a.Access != kernel.In {
			norms[i] = norm(a, want[i])
		}
	}
	switch s.op.Kind {
	case kernel.NormStats: // the variance is a difference: the mean square about the shift, less the mean's square
		most := 1.0
		for i, mean := range want[2].real {
			d := mean - s.in[1].real[i%s.op.C]
			most = max(most, 1+d*d/want[3].real[i])
		}
		norms[3], norms[4] = norms[3]*most, norms[4]*most
	case kernel.ConvForward, kernel.ConvDataGrad, kernel.ConvWeightGrad, kernel.NormForward, kernel.NormGradSums, kernel.NormDataGrad,
		kernel.LinearForward, kernel.LinearDataGrad, kernel.LinearWeightGrad, kernel.LinearBiasGrad, kernel.PoolForward:
		sizes := newLauncher(s.t, oracle, s.op).once(s.sizes(), nil)
		for i, a := range args {
			if a.Access != kernel.In {
				norms[i] = max(norms[i], norm(a, sizes[i])/math.Sqrt(max(terms(s.op), 1)))
			}
		}
	}
	limit, own := tolerance(s.op), owned(s.set.Traits(), s.op).Args()
	for i := range norms {
		each := limit
		if own[i].Type == kernel.Half && limit > 0 {
			each += halfRounding
		}
		norms[i] *= each
	}
	return norms
}

// sizes are inputs of which the reference makes the sums of the terms' sizes. (x - mean) scale + beta may well be computed as x scale + (beta - mean scale).
func (s *subject) sizes() []data {
	in := append([]data(nil), s.in...)
	for i, a := range s.op.Args() {
		in[i].real = filled(a.Len(), canary)
		for p := range a.Parts {
			for j := p * a.Stride; j < p*a.Stride+a.Part; j++ {
				in[i].real[j] = math.Abs(s.in[i].real[j])
				if a.Name == "mean" || s.op.Kind == kernel.NormDataGrad && (a.Name == "dgamma" || a.Name == "dbeta") { // which are subtracted
					in[i].real[j] *= -1
				}
			}
		}
	}
	return in
}

// norm is that of the numbers of a.
func norm(a kernel.Arg, d data) float64 {
	sum := 0.0
	for p := range a.Parts {
		part := d.real[p*a.Stride : p*a.Stride+a.Part]
		sum += dot(part, part)
	}
	return math.Sqrt(sum)
}
