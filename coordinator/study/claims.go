package study

import (
	"fmt"
	"math"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const oneSeed = "one seed gives no interval"

// claims are what the design asks, with what the runs say of it. A verdict is by the 95 % interval alone: where it lies on the claimed side the claim is shown, where it lies on the other
// side contradicted, else, or where there is none, not shown.
func (s *Summary) claims() []Claim {
	switch s.Spec.GetDesign() {
	case ditherv1.DesignScales:
		return s.claimsOfScales()
	case ditherv1.DesignBatches:
		return s.claimsOfBatches()
	case ditherv1.DesignEtaOverB:
		return s.claimsOfEtaOverB()
	case ditherv1.DesignLabelNoise:
		return s.claimsOfLabelNoise()
	}
	return nil
}

// side is where the value lies if a claim is true.
type side int

const (
	below side = -1
	above side = 1
)

// judged gives a claim its verdict: whether its interval lies below or above what the value is when there is no effect.
func (c Claim) judged(want side, none float64, extra string) Claim {
	c.Verdict = NotShown
	switch {
	case c.Value == nil:
	case c.Low == nil:
		c.Why = oneSeed
	case *c.High < none:
		c.Why = fmt.Sprintf("the interval lies below %.6g", none)
		c.Verdict = map[side]Verdict{below: Shown, above: Contradicted}[want]
	case *c.Low > none:
		c.Why = fmt.Sprintf("the interval lies above %.6g", none)
		c.Verdict = map[side]Verdict{below: Contradicted, above: Shown}[want]
	default:
		c.Why = fmt.Sprintf("the interval holds %.6g", none)
	}
	c.Why += extra
	return c
}

// lost says how many runs of the arms diverged: what is left may be the lucky ones.
func (s *Summary) lost(arms []int) string {
	n := 0
	for _, arm := range arms {
		n += s.Points[arm].Diverged
	}
	switch n {
	case 0:
		return ""
	case 1:
		return "; 1 run of these arms diverged and is not in it"
	}
	return fmt.Sprintf("; %d runs of these arms diverged and are not in it", n)
}

// trendClaim is the claim that the gradient norm goes up or down with x of the arms.
func (s *Summary) trendClaim(text, x string, arms []int, at func(arm int) float64, want side, purpose uint64, extra string) Claim {
	c := Claim{Text: text, Measure: "Spearman's correlation of gradient norm and " + x}
	var obs []observation
	for _, arm := range arms {
		for _, v := range s.values(arm, Refit, gradientNorm) {
			obs = append(obs, observation{at(arm), v.v, v.seed})
		}
	}
	c.N = len(obs)
	rho, low, high, p, ok := trend(obs, purpose)
	if c.N > 1 && len(groups(obs, func(o observation) float64 { return o.x })) > 1 {
		c.Value = &rho
	} else {
		c.Why = fmt.Sprintf("there are gradient norms at fewer than two values of %s", x)
	}
	if ok {
		c.Low, c.High = &low, &high
		c.Interval = fmt.Sprintf("%d resamples of the seeds at each %s (Rao and Wu's bootstrap), percentiles of the part that ties let it attain; extended to 0 unless permutations within seeds reject 0 at 5 %% (p = %.2g)", resamples, x, p)
	}
	return c.judged(want, 0, s.lost(arms)+extra)
}

// paired is a claim on the difference b - a of two arms' values, or the ratio b/a of their logarithms, by the seeds that both have.
func (s *Summary) paired(text, measured string, a, b []value, logarithm bool, want side, extra string) Claim {
	var d []float64
	for _, x := range a {
		for _, y := range b {
			switch {
			case x.seed != y.seed:
			case logarithm:
				d = append(d, math.Log(y.v)-math.Log(x.v))
			default:
				d = append(d, y.v-x.v)
			}
		}
	}
	return meanClaim(text, measured, d, logarithm, want, "Student's t over the seeds, each seed's two runs paired", "no seed has both runs finished", extra)
}

// against is a claim on the difference of an arm's values from one fixed number, or their ratio.
func against(text, measured string, fixed float64, b []value, logarithm bool, want side, extra string) Claim {
	var d []float64
	for _, y := range b {
		if logarithm {
			d = append(d, math.Log(y.v)-math.Log(fixed))
		} else {
			d = append(d, y.v-fixed)
		}
	}
	return meanClaim(text, measured, d, logarithm, want, "Student's t over the seeds; the teacher is one network, not a sample", "no run of it is finished", extra)
}

// meanClaim is a claim on the mean of values; the mean of logarithms is shown as a ratio.
func meanClaim(text, measured string, values []float64, logarithm bool, want side, method, nothing, extra string) Claim {
	c := Claim{Text: text, Measure: measured, N: len(values)}
	none := 0.0
	if logarithm {
		none = 1
		method += ", of the logarithm"
	}
	e := estimate(values)
	if e == nil {
		c.Why = nothing
		return c.judged(want, none, extra)
	}
	c.Value = back(e.Mean, logarithm)
	if e.Low != nil {
		c.Low, c.High, c.Interval = back(*e.Low, logarithm), back(*e.High, logarithm), method
	}
	return c.judged(want, none, extra)
}
