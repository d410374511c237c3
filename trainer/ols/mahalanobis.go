package ols

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Settled is the kept iterates after Burn, one every mixing iterations so that they are nearly independent, and at most so many: [n][d] in one slice.
func (p *Path) Settled(d int, mixing float64, most int) []float64 {
	thin := max(1, p.Thin)
	kept := len(p.Beta) / d
	first := min(kept, int((p.Burn+int64(thin)-1)/int64(thin)))
	stride := int(max(1, math.Ceil(min(mixing, float64(p.K))/float64(thin)), math.Ceil(float64(kept-first)/float64(most))))
	out := make([]float64, 0, ((kept-first)/stride+1)*d)
	for i := first; i < kept; i += stride {
		out = append(out, p.Beta[i*d:(i+1)*d]...)
	}
	return out
}

// Mahalanobis is the distances sqrt(e' S^-1 e) of iterates ([n][d] in one slice) from the least-squares solution, S being the exact covariance; nil where there is none, or
// where it is singular, as without noise.
func (t *Theory) Mahalanobis(iterates []float64) []float64 {
	if t.Covariance == nil {
		return nil
	}
	d := len(t.LeastSquares)
	s := mat.NewSymDense(d, nil)
	for i, row := range t.Covariance {
		for j := i; j < d; j++ {
			s.SetSym(i, j, row[j])
		}
	}
	var root mat.Cholesky
	var inverse mat.SymDense
	if !root.Factorize(s) || root.InverseTo(&inverse) != nil {
		return nil
	}
	a := make([]float64, d*d)
	for i := range d {
		for j := range d {
			a[i*d+j] = inverse.At(i, j)
		}
	}
	out := make([]float64, 0, len(iterates)/d)
	e := make([]float64, d)
	for k := 0; k+d <= len(iterates); k += d {
		for j, b := range t.LeastSquares {
			e[j] = iterates[k+j] - b
		}
		q := 0.0
		for i, u := range e {
			for j, v := range e {
				q += a[i*d+j] * u * v
			}
		}
		out = append(out, math.Sqrt(math.Max(q, 0)))
	}
	return out
}

// Quantile is a quantile of values that are nearly independent, with its 95 % interval: the order statistics that lie 1.96 binomial standard deviations to either side, whatever the law.
type Quantile struct{ Level, Value, Low, High float64 }

// QuantilesOf gives them for levels in (0, 1); nil of fewer than ten values.
func QuantilesOf(values []float64, levels ...float64) []Quantile {
	n := float64(len(values))
	if n < 10 {
		return nil
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	at := func(rank float64) float64 { return sorted[int(max(0, min(math.Round(rank), n-1)))] }
	out := make([]Quantile, len(levels))
	for i, p := range levels {
		half := 1.96 * math.Sqrt(n*p*(1-p))
		out[i] = Quantile{p, at(p * (n - 1)), at(p*(n-1) - half), at(p*(n-1) + half)}
	}
	return out
}
