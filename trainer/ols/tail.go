package ols

import (
	"math"
	"slices"
)

// Distances is how far the iterates after Burn are from centre (Euclidean), one every mixing iterations, so that they are nearly independent. The path must have been kept.
func (p *Path) Distances(center []float64, mixing float64) []float64 {
	d := len(center)
	if d == 0 || p.Beta == nil {
		return nil
	}
	kept := len(p.Beta) / d
	every := int(math.Max(1, math.Ceil(math.Min(mixing, float64(p.K))/float64(p.Thin))))
	var out []float64
	for i := int((p.Burn + int64(p.Thin) - 1) / int64(p.Thin)); i < kept; i += every {
		sum := 0.0
		for j, c := range center {
			e := p.Beta[i*d+j] - c
			sum += e * e
		}
		out = append(out, math.Sqrt(sum))
	}
	return out
}

// TailIndex is alpha in P(value > t) ~ t^-alpha for large t, with a 95 % interval: Hill's estimator (1975) from the largest values.
func TailIndex(values []float64) (alpha, low, high float64) {
	sorted := positive(values)
	k := int(math.Pow(float64(len(sorted)), 0.6))
	if k < 10 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	sum := 0.0
	for _, v := range sorted[:k] {
		sum += math.Log(v / sorted[k])
	}
	alpha = float64(k) / sum
	half := 1.96 * alpha / math.Sqrt(float64(k))
	return alpha, alpha - half, alpha + half
}

// positive is what of values is finite and above 0, largest first.
func positive(values []float64) []float64 {
	var out []float64
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 1) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}
