package study

import (
	"math"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-7*math.Max(1, math.Abs(want))) {
		t.Errorf("%s is %.10g, not %.10g", what, got, want)
	}
}

// All constants are scipy's and NumPy's: scipy.stats.t.ppf, t.interval, rankdata, spearmanr; numpy.quantile.
func TestAgainstScipy(t *testing.T) {
	for freedom, want := range map[int]float64{1: 12.70620474, 2: 4.30265273, 4: 2.77644511, 9: 2.26215716} {
		near(t, "t", quantileT(freedom, 0.95), want)
	}
	e := estimate([]float64{0.7012, 0.7145, 0.6988})
	near(t, "mean", e.Mean, 0.7048333333333333)
	near(t, "sd", e.SD, 0.008457146879020935)
	near(t, "low", *e.Low, 0.6838246158373458)
	near(t, "high", *e.High, 0.7258420508293209)
	if got := ranks([]float64{3, 1, 3, 2, 3}); !slices.Equal(got, []float64{4, 1, 4, 2, 4}) {
		t.Errorf("ranks %v", got)
	}
	near(t, "Spearman's correlation", spearman([]float64{0.1, 0.5, 1, 2, 4, 0.1, 0.5, 1, 2, 4}, []float64{9.1, 8.0, 8.4, 7.2, 5.5, 9.4, 8.1, 7.9, 7.9, 6.0}), -0.9259964968589902)
	near(t, "Spearman's correlation", spearman([]float64{1, 1, 2, 2, 3, 3}, []float64{3, 4, 2, 2.5, 1, 5}), -0.23904572186687875)
	near(t, "quantile", quantile([]float64{1, 2, 4, 8}, 0.3), 1.9)
	// sqrt(2/3 * pooled variance) * scipy.stats.t.ppf(1 - 0.05/2/3, 6), by hand in NumPy.
	all, freedom := gaps([]sample{{0, []float64{1.0, 1.1, 0.9}}, {1, []float64{1.2, 1.25, 1.3}}, {2, []float64{1.05, 1.0, 1.1}}})
	if freedom != 6 || len(all) != 3 {
		t.Fatalf("%d degrees of freedom and %d pairs", freedom, len(all))
	}
	for i, want := range []gap{{0, 1, 0.25, 0.06019868801063097, 0.439801311989369}, {0, 2, 0.05, -0.139801311989369, 0.23980131198936908}, {1, 2, -0.2, -0.38980131198936896, -0.010198688010630924}} {
		if all[i].a != want.a || all[i].b != want.b {
			t.Errorf("pair %d is %+v", i, all[i])
		}
		near(t, "difference", all[i].difference, want.difference)
		near(t, "low", all[i].low, want.low)
		near(t, "high", all[i].high, want.high)
	}
}

func TestFewValues(t *testing.T) {
	if estimate(nil) != nil {
		t.Error("an estimate of nothing")
	}
	if e := estimate([]float64{3}); e.N != 1 || e.Mean != 3 || e.SD != 0 || e.Low != nil || e.High != nil {
		t.Errorf("one value gives %+v", e)
	}
	if spearman([]float64{1, 1, 1}, []float64{1, 2, 3}) != 0 {
		t.Error("a constant has an order")
	}
}

// clouds are y at x = 1..settings for each seed: slope x + seed's own + noise.
func clouds(purpose uint64, settings, seeds int, slope, block, noise float64) []observation {
	rng := newDraws(purpose)
	normal := func() float64 { // near enough: the sum of 12 uniform ones
		s := -6.0
		for range 12 {
			s += float64(rng.below(1<<30)) / (1 << 30)
		}
		return s
	}
	var out []observation
	for seed := range seeds {
		own := block * normal()
		for x := range settings {
			out = append(out, observation{float64(x + 1), slope*float64(x) + own + noise*normal(), uint64(seed)})
		}
	}
	return out
}

func TestTrend(t *testing.T) {
	rho, low, high, p, ok := trend(clouds(1, 6, 3, -1, 0, 0.5), 1)
	if !ok || !(low <= rho && rho <= high) || high > -0.8 || p > 1e-3 {
		t.Errorf("a clear fall has %v in [%v, %v], p = %v", rho, low, high, p)
	}
	if _, low2, high2, p2, _ := trend(clouds(1, 6, 3, -1, 0, 0.5), 1); low2 != low || high2 != high || p2 != p {
		t.Error("the same values give another interval")
	}
	if _, low, high, _, ok := trend(clouds(2, 6, 3, 0, 0, 1), 1); !ok || low > 0 || high < 0 {
		t.Errorf("no trend has the interval [%v, %v]", low, high)
	}
	if _, _, _, _, ok := trend(clouds(3, 6, 1, -1, 0, 0), 1); ok {
		t.Error("one seed gives an interval")
	}
	// Two settings and two seeds in perfect order: no resampling breaks it, and yet it comes by chance in one case of six.
	few := []observation{{1, 4, 1}, {1, 5, 2}, {2, 1, 1}, {2, 2, 2}}
	if rho, _, high, p, ok := trend(few, 1); !ok || rho > -0.8 || high != 0 || p < 0.25 {
		t.Errorf("four runs in order give %v, at most %v, p = %v", rho, high, p)
	}
}

// Of runs in perfect order, ties leave the correlation short of 1; the interval must not lie beyond it.
func TestATrendLiesInItsInterval(t *testing.T) {
	var obs []observation
	for x := range 5 {
		for seed := range uint64(3) {
			obs = append(obs, observation{float64(x), -float64(x) + 0.1*float64(seed), seed})
		}
	}
	rho, low, high, _, ok := trend(obs, 1)
	if !ok || low > rho || high < rho || rho > -0.95 || high > -0.9 {
		t.Errorf("the correlation %v is in [%v, %v]", rho, low, high)
	}
}
