package ols

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestSettled: what is kept before the burn-in ends is left out, and so much in between as the mixing time and the limit ask for.
func TestSettled(t *testing.T) {
	for _, c := range []struct {
		thin, burn int64
		mixing     float64
		most       int
		want       []float64 // iterates, which are their own numbers
	}{
		{1, 0, 1, 100, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{1, 7, 1, 100, []float64{8, 9, 10, 11, 12}},
		{1, 7, 2.5, 100, []float64{8, 11}},
		{1, 0, 1, 5, []float64{1, 4, 7, 10}},
		{3, 4, 1, 100, []float64{9, 12}},
		{3, 4, 4, 100, []float64{9}},
		{1, 12, 1, 100, nil},
		{1, 0, math.Inf(1), 100, []float64{1}},
	} {
		p := Path{Thin: int(c.thin), K: 12, Burn: c.burn}
		for k := c.thin; k <= 12; k += c.thin {
			p.Beta = append(p.Beta, float64(k), -float64(k))
		}
		got := p.Settled(2, c.mixing, c.most)
		if len(got) != 2*len(c.want) {
			t.Errorf("%+v: %v", c, got)
			continue
		}
		for i, v := range c.want {
			if got[2*i] != v || got[2*i+1] != -v {
				t.Errorf("%+v: %v", c, got)
			}
		}
	}
}

// TestMahalanobis on normals of the covariance that is said to be exact: the squared distance has mean d, and points of the ellipse have the distance that made it.
func TestMahalanobis(t *testing.T) {
	theory := &Theory{LeastSquares: []float64{1, -2}, Covariance: [][]float64{{4, -1.5}, {-1.5, 1}}}
	one := theory.Mahalanobis([]float64{1 + 3*2, -2 - 3*0.75, 1, -2})
	// (2, -0.75) is the first column of Cholesky's factor: distance 1, taken three times.
	if len(one) != 2 || math.Abs(one[0]-3) > 1e-12 || one[1] != 0 {
		t.Errorf("%v, not 3 and 0", one)
	}
	g := rand.New(rand.NewPCG(3, 4))
	const n = 20_000
	var all []float64
	for range n {
		u, v := g.NormFloat64(), g.NormFloat64()
		all = append(all, 1+2*u, -2-0.75*u+math.Sqrt(1-0.75*0.75)*v)
	}
	sum := 0.0
	distances := theory.Mahalanobis(all)
	for _, q := range distances {
		sum += q * q
	}
	// The variance of chi-square with two degrees of freedom is 4.
	if mean := sum / n; math.Abs(mean-2) > 4*2/math.Sqrt(n) {
		t.Errorf("the squared distance has mean %v, not 2", mean)
	}
	for _, q := range QuantilesOf(distances, 0.5, 0.95) {
		want := math.Sqrt(-2 * math.Log(1-q.Level))
		if !(q.Low <= q.Value && q.Value <= q.High) || q.High-q.Low > 0.1 || want < q.Low-0.02 || want > q.High+0.02 {
			t.Errorf("%+v is beside %v", q, want)
		}
	}
	theory.Covariance = [][]float64{{0, 0}, {0, 0}}
	if got := theory.Mahalanobis(all); got != nil {
		t.Error("distances by a singular covariance")
	}
}

// TestQuantileIntervals: of 400 samples about 95 % of the intervals hold the law's own quantile.
func TestQuantileIntervals(t *testing.T) {
	g := rand.New(rand.NewPCG(5, 6))
	const times = 400
	holds := 0
	for range times {
		values := make([]float64, 500)
		for i := range values {
			values[i] = g.Float64()
		}
		if q := QuantilesOf(values, 0.9)[0]; q.Low <= 0.9 && 0.9 <= q.High {
			holds++
		}
	}
	// Four standard deviations of a binomial to either side.
	if share := float64(holds) / times; math.Abs(share-0.95) > 0.045 {
		t.Errorf("%.3f of the intervals hold the quantile", share)
	}
	if QuantilesOf(make([]float64, 9), 0.5) != nil {
		t.Error("an interval of nine values")
	}
}
