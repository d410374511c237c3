package study

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/stat"
)

// Margins within which arms are said to coincide.
const (
	// Margin is of a ratio: 10 %. What noise does to the gradient norm is several times that (7,393 without, 4,784 with sigma2 = 25, for a ResNet-20 from its teacher), and what a seed does is less, so
	// that a difference of this size can be found with a handful of seeds and would not be taken for the effect.
	Margin = 0.10
	// AccuracyMargin is of a difference of accuracies, in fractions of 1: 2 points, about what two seeds of one setting differ by on a few thousand training images.
	AccuracyMargin = 0.02
)

// arm's values of a measure, on the scale on which differences are taken.
type sample struct {
	arm    int
	values []float64
}

// gap is the difference of two arms' means with its simultaneous interval.
type gap struct {
	a, b                  int // arms
	difference, low, high float64
}

// beyond is how far the interval lies outside of +-margin; not positive: it does not.
func (g gap) beyond(margin float64) float64 { return math.Max(g.low-margin, -margin-g.high) }

// within says whether the interval lies in +-margin.
func (g gap) within(margin float64) bool { return g.low >= -margin && g.high <= margin }

// gaps are the differences of all pairs of arms, each later one less the earlier, with simultaneous 95 % intervals by Student's t, Bonferroni's correction and one variance for all arms.
// freedom 0: a single seed, whose intervals are unbounded. The arms' seeds are the same; whatever they have in common makes the intervals too wide, never too narrow.
func gaps(samples []sample) (out []gap, freedom int) {
	squares := 0.0
	for _, s := range samples {
		if n := len(s.values); n > 1 {
			squares += stat.Variance(s.values, nil) * float64(n-1)
			freedom += n - 1
		}
	}
	pairs := len(samples) * (len(samples) - 1) / 2
	for j, b := range samples {
		for _, a := range samples[:j] {
			half := math.Inf(1)
			if freedom > 0 {
				t := quantileT(freedom, 1-(1-confidence)/float64(pairs))
				half = t * math.Sqrt(squares/float64(freedom)*(1/float64(len(a.values))+1/float64(len(b.values))))
			}
			d := stat.Mean(b.values, nil) - stat.Mean(a.values, nil)
			out = append(out, gap{a.arm, b.arm, d, d - half, d + half})
		}
	}
	return out, freedom
}

// widest is the gap that decides: that farthest beyond the margin, else that of the means farthest apart.
func widest(all []gap, margin float64) gap {
	g := all[0]
	for _, o := range all[1:] {
		beyond := math.Max(o.beyond(margin), 0) - math.Max(g.beyond(margin), 0)
		if beyond > 0 || beyond == 0 && math.Abs(o.difference) > math.Abs(g.difference) {
			g = o
		}
	}
	return g
}

// coincide is the claim that a measure is the same for all of the arms, but for a margin; prediction is what theory says of it. logarithm: ratios are looked at.
func (s *Summary) coincide(what, fixed string, arms []int, m func(arm int) []value, logarithm bool, prediction string) Claim {
	margin, unit := AccuracyMargin, "difference"
	if logarithm {
		margin, unit = math.Log1p(Margin), "ratio"
	}
	c := Claim{Text: fmt.Sprintf("The %s coincides where %s", what, fixed), Verdict: NotShown, Measure: fmt.Sprintf("largest %s of two arms' mean %s", unit, strings.TrimSuffix(what, ",")),
		Interval: "simultaneous over all pairs: Student's t with Bonferroni's correction and one variance for all arms" + map[bool]string{true: ", of the logarithm"}[logarithm]}
	var samples []sample
	var missing int
	for _, arm := range arms {
		values := numbers(m(arm))
		for i, v := range values {
			if !logarithm {
				continue
			}
			if !(v > 0) {
				c.Why = fmt.Sprintf("%s has a %s of %.6g, of which there is no logarithm; %s", s.Points[arm].Name, what, v, prediction)
				return c
			}
			values[i] = math.Log(v)
		}
		if len(values) == 0 {
			missing++
			continue
		}
		c.N += len(values)
		samples = append(samples, sample{arm, values})
	}
	if len(samples) < 2 {
		c.Why = fmt.Sprintf("%d of %d arms have a finished run, and two are needed to compare; %s", len(samples), len(arms), prediction)
		return c
	}
	all, freedom := gaps(samples)
	g := widest(all, margin)
	c.Value = back(g.difference, logarithm)
	bound := fmt.Sprintf("+-%.3g", AccuracyMargin)
	if logarithm {
		bound = fmt.Sprintf("+-%.0f %%", 100*Margin)
	}
	if freedom == 0 {
		c.Why = fmt.Sprintf("%s; %s", oneSeed, prediction)
		return c
	}
	c.Low, c.High = back(g.low, logarithm), back(g.high, logarithm)
	pair := fmt.Sprintf("%s against %s", s.Points[g.b].Name, s.Points[g.a].Name)
	all95 := true
	for _, o := range all {
		all95 = all95 && o.within(margin)
	}
	switch {
	case g.beyond(margin) > 0:
		c.Verdict, c.Why = Contradicted, fmt.Sprintf("the interval of %s lies outside of %s", pair, bound)
	case !all95:
		c.Why = fmt.Sprintf("not every interval lies within %s and none lies outside: farthest apart is %s; more seeds would tell", bound, pair)
	case missing > 0:
		c.Why = fmt.Sprintf("the intervals lie within %s, but %d of %d arms have no finished run", bound, missing, len(arms))
	default:
		c.Verdict, c.Why = Shown, fmt.Sprintf("the intervals of all %d pairs lie within %s; farthest apart is %s", len(all), bound, pair)
	}
	c.Why += s.lost(arms) + "; " + prediction
	return c
}

func back(v float64, logarithm bool) *float64 {
	if logarithm {
		v = math.Exp(v)
	}
	return &v
}
