package chart

import (
	"math"
	"testing"
)

// TestDensity: every point is counted in its cell, on edges too, and what lies outside or is no number is counted only in all.
func TestDensity(t *testing.T) {
	w := Window{0, 1, 10, 12}
	path := []float64{0, 10, 7, 0.49, 10.99, 7, 0.5, 11, 7, 0.999999999999, 11.999999999999, 7, 1, 11, 7, -1e-9, 11, 7, math.NaN(), 11, 7, 0.5, math.Inf(1), 7, 1e300, -1e300, 7}
	q := NewDensity(path, 3, w, 2)
	if got, want := [4]int64{q.Counts[0][0], q.Counts[0][1], q.Counts[1][0], q.Counts[1][1]}, [4]int64{2, 0, 0, 2}; got != want || q.N != 9 {
		t.Errorf("%v of %d points, not %v of 9", got, q.N, want)
	}
}

// TestEllipse: its points have the distance that was asked for, whatever the correlation; a singular covariance gives a segment.
func TestEllipse(t *testing.T) {
	m := [2][2]float64{{4, -1.5}, {-1.5, 1}}
	det := m[0][0]*m[1][1] - m[0][1]*m[1][0]
	for _, p := range Ellipse([2]float64{3, -2}, m, 5.991) {
		u, v := p.X-3, p.Y+2
		if q := (m[1][1]*u*u - 2*m[0][1]*u*v + m[0][0]*v*v) / det; math.Abs(q-5.991) > 1e-9 {
			t.Fatalf("distance^2 %v", q)
		}
	}
	for _, p := range Ellipse([2]float64{}, [2][2]float64{{1, 2}, {2, 4}}, 1) {
		if math.Abs(p.Y-2*p.X) > 1e-12 {
			t.Fatalf("%v lies beside the segment", p)
		}
	}
	for _, p := range Ellipse([2]float64{}, [2][2]float64{{0, 0}, {0, 9}}, 1) {
		if p.X != 0 || math.Abs(p.Y) > 3 {
			t.Fatalf("%v lies beside the segment", p)
		}
	}
}
