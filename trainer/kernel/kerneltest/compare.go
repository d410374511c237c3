package kerneltest

import (
	"math"
	"math/rand/v2"

	"github.com/dither-ml/dither/trainer/kernel"
)

// near compares outputs with the reference's. An exact kind's may not differ at all.
func (s *subject) near(where string, got, want []data) {
	s.t.Helper()
	limit := tolerance(s.op)
	for i, a := range s.op.Args() {
		if a.Access == kernel.In {
			continue
		}
		var difference, size float64
		for j, w := range want[i].real {
			g := got[i].real[j]
			if (g != g) != (w != w) {
				s.t.Errorf("%v%s: %s[%d] is %v, want %v", s.op, where, a.Name, j, g, w)
				return
			}
			if w == w && g != w {
				difference, size = difference+(g-w)*(g-w), size+w*w
			} else if w == w && w != canary {
				size += w * w
			}
		}
		if off := math.Sqrt(difference / max(size, 1e-30)); off > limit || math.IsNaN(off) {
			s.t.Errorf("%v%s: %s differs from the reference by %.2g of its norm, more than %.2g", s.op, where, a.Name, off, limit)
		}
	}
}

// notANumber puts a NaN into each input in turn: it must come out where the reference has it.
func (s *subject) notANumber(oracle kernel.Set, r *rand.Rand) {
	s.t.Helper()
	for i, a := range s.op.Args() {
		if a.Type != kernel.Real || a.Access == kernel.Out {
			continue
		}
		in := append([]data(nil), s.in...)
		in[i].real = append([]float64(nil), in[i].real...)
		in[i].real[r.IntN(a.Parts)*a.Stride+r.IntN(a.Part)] = math.NaN()
		got, want := newLauncher(s.t, s.set, s.op).once(in, nil), newLauncher(s.t, oracle, s.op).once(in, nil)
		if s.op.R > 1 { // the border is zeros, and whether zero times NaN is added or left out is the set's affair
			spread(got, want)
		}
		s.near(" with a NaN in "+a.Name, got, want)
	}
}

// spread takes over what is NaN in got alone.
func spread(got, want []data) {
	for i := range want {
		for j, v := range got[i].real {
			if v != v {
				want[i].real[j] = v
			}
		}
	}
}

// tolerance is the norm of a difference over the norm, for float32 that rounds every operation: a chain of n random terms is off by sqrt(n) roundings or so.
// Kinds that only choose and copy are exact.
func tolerance(op kernel.Op) float64 {
	const rounding = 6e-8
	pixels := float64(max(op.N*op.H*op.W, op.N))
	var chain float64
	switch op.Kind {
	case kernel.ReLU, kernel.ReLUGrad, kernel.ShortcutForward, kernel.ShortcutGrad, kernel.Correct, kernel.OneHot, kernel.Zero:
		return 0
	case kernel.ConvForward:
		chain = float64(op.C * op.R * op.R)
	case kernel.ConvDataGrad:
		chain = float64(op.K * op.R * op.R)
	case kernel.ConvWeightGrad, kernel.ConvSquares, kernel.NormStats, kernel.NormSums, kernel.NormGradSums, kernel.NormSquares,
		kernel.LinearWeightGrad, kernel.LinearBiasGrad, kernel.LinearSquares, kernel.QuadraticForward, kernel.KDForward, kernel.CEForward:
		chain = pixels
	case kernel.PoolForward:
		chain = float64(op.H * op.W)
	case kernel.LinearForward:
		chain = float64(op.C)
	case kernel.LinearDataGrad:
		chain = float64(op.K)
	}
	return 4 * rounding * (1 + math.Sqrt(chain))
}
