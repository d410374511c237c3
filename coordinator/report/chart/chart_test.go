package chart

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/plot/plotter"
)

// TestThinned: a long run makes a small page, and its curves keep their mean.
func TestThinned(t *testing.T) {
	all := make(plotter.XYs, 123_457)
	for i := range all {
		all[i] = plotter.XY{X: float64(i + 1), Y: float64(i % 2)}
	}
	thin := thinned(all)
	if len(thin) > maxPoints || len(thin) < maxPoints/2 {
		t.Fatalf("%d points", len(thin))
	}
	for _, p := range thin[:len(thin)-1] {
		if math.Abs(p.Y-0.5) > 0.01 {
			t.Fatalf("the mean of zeros and ones is %v at %v", p.Y, p.X)
		}
	}
	ramp := plotter.XYs{{X: 1, Y: 0}, {X: 2, Y: 3}, {X: 3, Y: 6}, {X: 4, Y: 9}}
	if got, want := smoothed(ramp, 1), (plotter.XYs{{X: 1, Y: 1.5}, {X: 2, Y: 3}, {X: 3, Y: 6}, {X: 4, Y: 7.5}}); !slices.Equal(got, want) {
		t.Errorf("smoothed to %v, not %v", got, want)
	}
}
