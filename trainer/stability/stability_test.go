package stability

import (
	"math"
	"slices"
	"testing"
)

func TestDirection(t *testing.T) {
	z := make([]float64, 6)
	Direction(1, 0, 0, z)
	out := make([]float32, 6)
	Perturb([]float32{1, -1, 0, 0.5, 100, 1e-3}, 0.25, z, out)
	if want := []float32{0.91871655, -0.8607754, 0.11410046, 0.46219468, 100.36046, -0.113404214}; !slices.Equal(out, want) {
		t.Errorf("perturbed to %v; docs/random.md says %v", out, want)
	}
	for _, n := range []int{0, 1, 3, 4, 5} {
		short := make([]float64, n)
		if Direction(1, 0, 0, short); !slices.Equal(short, z[:n]) {
			t.Errorf("the first %d numbers are %v, want those of %v", n, short, z)
		}
	}
	for _, other := range [][3]uint64{{2, 0, 0}, {1, 1, 0}, {1, 0, 1}} {
		y := make([]float64, 6)
		if Direction(other[0], uint32(other[1]), uint32(other[2]), y); slices.Equal(y, z) {
			t.Errorf("%v has the same numbers", other)
		}
	}
	many := make([]float64, 100_000)
	Direction(7, 3, 2, many)
	sum, squares := 0.0, 0.0
	for _, v := range many {
		sum += v / float64(len(many))
		squares += v * v / float64(len(many))
	}
	if math.Abs(sum) > 0.01 || math.Abs(squares-1) > 0.015 { // three standard errors
		t.Errorf("mean %v, mean square %v", sum, squares)
	}
}

func TestChange(t *testing.T) {
	if got := Change([]float32{1, 2, 3, 4}, []float32{1, 0, 6, 4}, 2); got != 6.5 {
		t.Errorf("the mean over two images is %v, want (4 + 9)/2", got)
	}
	inf := float32(math.Inf(1))
	for _, after := range [][]float32{{inf, 0}, {-inf, 0}, {inf - inf, 0}} {
		if got := Change([]float32{1, 2}, after, 2); got-got == 0 {
			t.Errorf("to %v it is %v", after, got)
		}
	}
}

func TestScale(t *testing.T) {
	s := NewScale(0.5, 100, []float64{1, 2, 3}, []float64{0.9, 0.9, 0.8})
	half := 4.302652729749464 / math.Sqrt(3) // t of 2 degrees of freedom, standard deviation 1
	if s.FirstOrder != 25 || *s.ChangeMean != 2 || *s.ChangeLow != 0 || math.Abs(*s.ChangeHigh-2-half) > 1e-9 || s.NotFinite != 0 {
		t.Errorf("the scale is %+v, change %v to %v", s, *s.ChangeLow, *s.ChangeHigh)
	}
	if math.Abs(s.AccuracyMean-13.0/15) > 1e-15 || math.Abs(s.AccuracyLow-(13.0/15-half*0.1/math.Sqrt(3))) > 1e-9 || s.AccuracyHigh != 1 {
		t.Errorf("accuracy %v, %v to %v", s.AccuracyMean, s.AccuracyLow, s.AccuracyHigh)
	}
	s = NewScale(0.5, 100, []float64{1, math.NaN(), math.Inf(1)}, []float64{0.5, 0, 0})
	if s.NotFinite != 2 || s.ChangeMean != nil || s.ChangeLow != nil || s.ChangeHigh != nil || s.AccuracyMean == 0 {
		t.Errorf("of logits that were no numbers: %+v", s)
	}
}
