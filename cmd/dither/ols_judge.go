package main

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/dither-ml/dither/coordinator/report"
	"github.com/dither-ml/dither/trainer/ols"
)

// agreement is how far what a chain shows may be from the exact theory, as a fraction.
const agreement = 0.02

// Verdicts.
const (
	shown        = "shown"
	notShown     = "not shown"
	contradicted = "contradicted"
	noFourth     = "no fourth moment"
	noSecond     = "no second moment"
	noVariance   = "no variance"
	noInterval   = "no interval"
	blownUp      = "diverged"
)

// judge says whether what was measured is within limit of what is claimed: differences are those of each entry, as fractions, and errors their standard errors from so many batch means. Every
// entry has an interval, wide enough for all of them to hold at once in 95 % of the cases (Bonferroni). The claim's numbers are those of the entry that is farthest off.
func judge(what string, differences, errors []float64, segments int, n int64, limit float64) report.Claim {
	c := report.Claim{What: what, Verdict: shown, N: n, Low: math.NaN(), High: math.NaN(), StandardErrors: math.NaN()}
	z := math.NaN()
	if errors != nil && segments > 1 {
		z = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(segments - 1)}.Quantile(1 - 0.05/(2*float64(len(differences))))
	} else {
		c.Verdict = noInterval
	}
	for i, d := range differences {
		d = math.Abs(d)
		half := math.NaN()
		if errors != nil {
			half = z * errors[i]
		}
		switch {
		case c.Verdict == noInterval || c.Verdict == contradicted:
		case d-half > limit:
			c.Verdict = contradicted
		case !(d+half <= limit):
			c.Verdict = notShown
		}
		if i == 0 || d > c.Apart {
			c.Apart, c.Low, c.High = d, math.Max(0, d-half), d+half
			if errors != nil {
				c.StandardErrors = d / errors[i]
			}
		}
	}
	return c
}

// unknown is a claim of which nothing can be said.
func unknown(what, why string, n int64) report.Claim {
	return report.Claim{What: what, Verdict: why, Apart: math.NaN(), Low: math.NaN(), High: math.NaN(), N: n, StandardErrors: math.NaN()}
}

// olsClaims judges one panel: the mean against the least-squares solution, the covariance against the exact one.
func olsClaims(t *ols.Theory, p *ols.Path) []report.Claim {
	n := max(0, p.K-p.Burn)
	switch {
	case p.Diverged || p.Mean == nil:
		return []report.Claim{unknown("mean", blownUp, 0), unknown("covariance", blownUp, 0)}
	case t.Covariance == nil:
		return []report.Claim{unknown("mean", noSecond, n), unknown("covariance", noSecond, n)}
	}
	d := len(p.Mean)
	var difference, deviation []float64
	for i, b := range t.LeastSquares {
		difference = append(difference, (p.Mean[i]-b)/math.Abs(b))
		if p.MeanError != nil {
			deviation = append(deviation, p.MeanError[i]/math.Abs(b))
		}
	}
	mean := judge("mean", difference, deviation, p.Segments, n, agreement)
	difference, deviation = nil, nil
	for i := range d {
		for j := range i + 1 {
			scale := math.Sqrt(t.Covariance[i][i] * t.Covariance[j][j])
			if scale == 0 {
				return []report.Claim{mean, unknown("covariance", noVariance, n)}
			}
			difference = append(difference, (p.Covariance[i][j]-t.Covariance[i][j])/scale)
			if p.CovarianceError != nil {
				deviation = append(deviation, p.CovarianceError[i][j]/scale)
			}
		}
	}
	covariance := judge("covariance", difference, deviation, p.Segments, n, agreement)
	if t.Radius4 >= 1 {
		// The difference is what it is, but its standard error is none: the covariance's own variance is infinite.
		covariance.Verdict, covariance.Low, covariance.High, covariance.StandardErrors = noFourth, math.NaN(), math.NaN(), math.NaN()
	}
	return []report.Claim{mean, covariance}
}

// apartFrom is how far a covariance is from the exact one: the largest difference of an entry over sqrt(C_ii C_jj); NaN where there is none, or one without variance.
func apartFrom(c, exact [][]float64) float64 {
	most := math.NaN()
	for i := range exact {
		for j := range exact {
			if exact[i][i] == 0 || exact[j][j] == 0 {
				return math.NaN()
			}
			if a := math.Abs(c[i][j]-exact[i][j]) / math.Sqrt(exact[i][i]*exact[j][j]); !(a <= most) {
				most = a
			}
		}
	}
	return most
}

// olsLevels are the quantiles of the distance that are told of a law with heavy tails.
var olsLevels = []float64{0.5, 0.9, 0.95, 0.99, 0.999}

// settledIterates is how many iterates the quantiles of a heavy tail are taken of, at most.
const settledIterates = 50_000

// heavyTail is what is said of a law without fourth moments in place of its covariance; nil where there are.
func heavyTail(t *ols.Theory, p *ols.Path) *report.Tail {
	if t.Covariance == nil || !(t.Radius4 >= 1) || p.Diverged {
		return nil
	}
	out := &report.Tail{Exact: t.Tail, Index: math.NaN(), Low: math.NaN(), High: math.NaN()}
	if p.Beta == nil {
		return out
	}
	d := len(t.LeastSquares)
	mixing := math.Max(t.Mixing, t.Mixing2)
	distances := p.Distances(t.LeastSquares, mixing)
	out.Index, out.Low, out.High = ols.TailIndex(distances)
	iterates := p.Settled(d, mixing, settledIterates)
	out.N = int64(len(iterates) / d)
	for j := range d {
		column := make([]float64, 0, out.N)
		for k := j; k < len(iterates); k += d {
			column = append(column, iterates[k])
		}
		for _, q := range ols.QuantilesOf(column, 0.5) {
			out.Median = append(out.Median, report.Quantile{Level: q.Level, Value: q.Value, Low: q.Low, High: q.High, Expected: t.LeastSquares[j]})
		}
	}
	law := distuv.ChiSquared{K: float64(d)}
	for _, q := range ols.QuantilesOf(t.Mahalanobis(iterates), olsLevels...) {
		out.Distances = append(out.Distances, report.Quantile{Level: q.Level, Value: q.Value, Low: q.Low, High: q.High, Expected: math.Sqrt(law.Quantile(q.Level))})
	}
	return out
}
