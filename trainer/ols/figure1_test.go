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
