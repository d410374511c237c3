package ols

import (
	"context"
	"flag"
	"math"
	"testing"
)

var (
	figure1Seeds      = flag.Int("figure1-seeds", 1, "seeds, from 1 on, for which every panel of Figure 1 is held to its theory")
	figure1Iterations = flag.Int64("figure1-iterations", 1_000_000, "iterations of each chain")
)

// Every panel, as the paper runs it, against exact theory. Where the fourth-moment radius is below 0.95 each entry of the covariance is within 2 % of sqrt(S_ii S_jj) of the exact one, and
// within 5 standard errors; where it is 1 or more, the tail is as heavy as the moments say. The mean is within 5 standard errors of least squares everywhere.
func TestFigure1AgainstTheory(t *testing.T) {
	compared, heavy := 0, 0
	for seed := uint64(1); seed <= uint64(*figure1Seeds); seed++ {
		settings := Figure1(seed)
		data := drawn(t, settings)
		paths, err := Run(context.Background(), settings, data, Options{Iterations: *figure1Iterations, Keep: true, Thin: 2})
		if err != nil {
			t.Fatal(err)
		}
		for i := range settings {
			s, p := &settings[i], &paths[i]
			theory, err := s.Theory(data[i])
			if err != nil {
				t.Fatal(err)
			}
			say := func(format string, args ...any) {
				t.Errorf("seed %d, panel (%c), sigma2 %v: "+format, append([]any{seed, 'a' + rune(i/2), s.Sigma2}, args...)...)
			}
			if p.Diverged || theory.Radius2 >= 1 {
				say("radius %v, diverged %v", theory.Radius2, p.Diverged)
				continue
			}
			if s.Sigma2 == 0 {
				// The residuals are 0, so the law is a point, and the chain sits on it to within rounding.
				for a := range 2 {
					if theory.Covariance[a][a] != 0 || p.Covariance[a][a] > 1e-28 || math.Abs(p.Mean[a]-1) > 1e-12 {
						say("variance %v, exactly %v, mean %v", p.Covariance[a][a], theory.Covariance[a][a], p.Mean[a])
					}
				}
				continue
			}
			worst := 0.0
			for a := range 2 {
				if z := (p.Mean[a] - theory.LeastSquares[a]) / p.MeanError[a]; math.Abs(z) > 5 {
					say("the mean is %v standard errors off", z)
				}
				for b := range 2 {
					off := p.Covariance[a][b] - theory.Covariance[a][b]
					relative := math.Abs(off) / math.Sqrt(theory.Covariance[a][a]*theory.Covariance[b][b])
					worst = math.Max(worst, relative)
					if theory.Radius4 < 0.95 && (relative > 0.02 || math.Abs(off) > 5*p.CovarianceError[a][b]) {
						say("covariance (%d, %d) is off by %.2f %%, %.1f standard errors", a, b, 100*relative, off/p.CovarianceError[a][b])
					}
				}
			}
			alpha, low, high := TailIndex(p.Distances(theory.LeastSquares, theory.Mixing2))
			switch {
			case theory.Radius4 < 0.95:
				compared++
			case theory.Radius4 >= 1:
				heavy++
				// Iterates a mixing time apart still are a little dependent, and Hill's estimator a little biased: twice the interval.
				if theory.Tail < 2 || theory.Tail > 4 || math.Abs(alpha-theory.Tail) > high-low {
					say("tail index %.2f (%.2f to %.2f), exactly %.2f", alpha, low, high, theory.Tail)
				}
			}
			t.Logf("seed %d (%c): radii %.3f %.3f %.3f, covariance off by at most %.2f %%, tail %.2f (%.2f to %.2f), by moments %.2f; exact over paper: residual %.3f finite %.3f shape %.3f step %.3f",
				seed, 'a'+rune(i/2), theory.Radius1, theory.Radius2, theory.Radius4, 100*worst, alpha, low, high, theory.Tail,
				theory.Apart.Residual, theory.Apart.Finite, theory.Apart.Shape, theory.Apart.Step)
			paper := trace(theory.Paper) * theory.Apart.Residual * theory.Apart.Finite * theory.Apart.Shape * theory.Apart.Step
			near(t, "the factors of Apart", paper/trace(theory.Covariance), 1, 1e-12)
		}
	}
	if compared < 5 || heavy == 0 {
		t.Errorf("%d panels were compared by covariance and %d by their tail", compared, heavy)
	}
}

// Chains of other kinds than the paper's, of both engines, against their theory: entries of the covariance within 2 % and 5 standard errors, as above.
func TestOtherChainsAgainstTheory(t *testing.T) {
	sigma := [][]float64{{3, 1, 0}, {1, 2, -0.5}, {0, -0.5, 1}}
	settings := []Setting{
		{Sigma: identity(2, 20), Sigma2: 0.5, N: 100, Batch: 5, Eta: 0.01, Refresh: Iteration},
		{Sigma: identity(2, 20), Sigma2: 0.5, N: 20, Batch: 7, Eta: 0.02, Refresh: Once, Replacement: true},
		{Sigma: identity(2, 20), Sigma2: 0.5, N: 20, Batch: 7, Eta: 0.02, Refresh: Once},
		{Sigma: sigma, Sigma2: 1, N: 30, Batch: 4, Eta: 0.1, Refresh: Iteration, Replacement: true},
	}
	for i := range settings {
		settings[i].Seed, settings[i].Stream = 21, uint32(i)
	}
	data := drawn(t, settings)
	paths, err := Run(context.Background(), settings, data, Options{Iterations: 400_000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range settings {
		theory, err := settings[i].Theory(data[i])
		if err != nil {
			t.Fatal(err)
		}
		if theory.Radius4 >= 0.95 {
			t.Fatalf("setting %d has fourth-moment radius %v: choose another", i, theory.Radius4)
		}
		p := &paths[i]
		for a, b := range theory.LeastSquares {
			if z := (p.Mean[a] - b) / p.MeanError[a]; math.Abs(z) > 5 {
				t.Errorf("setting %d: mean %d is %v standard errors off", i, a, z)
			}
			for b := range theory.Covariance {
				off := p.Covariance[a][b] - theory.Covariance[a][b]
				relative := off / math.Sqrt(theory.Covariance[a][a]*theory.Covariance[b][b])
				if math.Abs(relative) > 0.02 || math.Abs(off) > 5*p.CovarianceError[a][b] {
					t.Errorf("setting %d: covariance (%d, %d) is off by %.2f %%, %.1f standard errors", i, a, b, 100*relative, off/p.CovarianceError[a][b])
				}
			}
		}
	}
}
