package kerneltest

import (
	"math"
	"math/rand/v2"

	"github.com/dither-ml/dither/trainer/kernel"
)

// near compares outputs with the reference's: the norm of each one's difference may be as much as allowed.
func (s *subject) near(where string, got, want []data, allowed []float64) {
	s.t.Helper()
	for i, a := range s.op.Args() {
		if a.Access == kernel.In {
			continue
		}
		sum := 0.0
		for j, w := range want[i].real {
			g := got[i].real[j]
			if (g != g) != (w != w) {
				s.t.Errorf("%v%s: %s[%d] is %v, want %v", s.op, where, a.Name, j, g, w)
				return
			}
			if w == w && g != w {
				sum += (g - w) * (g - w)
			}
		}
		if off := math.Sqrt(sum); off > allowed[i] || math.IsNaN(off) {
			s.t.Errorf("%v%s: %s differs from the reference by %.2g, more than %.2g", s.op, where, a.Name, off, allowed[i])
		}
	}
}

// notANumber puts a NaN into each input in turn: it must come out where the reference has it.
func (s *subject) notANumber(oracle kernel.Set, r *rand.Rand, allowed []float64) {
	s.t.Helper()
	for i, a := range s.op.Args() {
		if a.Type != kernel.Real || a.Access == kernel.Out {
			continue
		}
		in := append([]data(nil), s.in...)
		in[i].real = append([]float64(nil), in[i].real...)
		in[i].real[r.IntN(a.Parts)*a.Stride+r.IntN(a.Part)] = math.NaN()
		got, want := newLauncher(s.t, s.set, s.op).once(in, nil), s.wanted(oracle, in)
		if s.op.R > 1 {
			s.spread(got, want, a.Name == "w")
		}
		s.near(" with a NaN in "+a.Name, got, want, allowed)
	}
}

// spread takes over what is NaN in got alone, in those images and those groups' parts in which the reference has a NaN somewhere: whether the zeros of the border are multiplied is the
// set's affair, and a tile of Winograd's algorithm shares what is in it. A weight meets all images, and in the reference possibly none.
func (s *subject) spread(got, want []data, weight bool) {
	for i, a := range s.op.Args() {
		if a.Access == kernel.In {
			continue
		}
		unit := a.Stride // a group's part
		switch {
		case a.Channels > 0:
			unit = a.Channels * a.Pixels
		case a.Name == "q":
			unit = 1
		}
		for from := 0; from < len(want[i].real); from += unit {
			g, w := got[i].real[from:min(from+unit, a.Len())], want[i].real[from:min(from+unit, a.Len())]
			if weight || hasNaN(w) {
				for j, v := range g {
					if v != v {
						w[j] = v
					}
				}
			}
		}
	}
}

func hasNaN(v []float64) bool {
	for _, x := range v {
		if x != x {
			return true
		}
	}
	return false
}
