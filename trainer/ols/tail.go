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
	for i := int(p.Burn / int64(p.Thin)); i < kept; i += every {
		sum := 0.0
		for j, c := range center {
			e := p.Beta[i*d+j] - c
			sum += e * e
		}
		out = append(out, math.Sqrt(sum))
	}
	return out
}

// TailIndex is alpha in P(value > t) ~ t^-alpha for large t, with a 95 % interval: Hill's estimator (1975) from the largest n^0.6 of n values, few enough that what is not yet a power of t
// biases it little. The interval is of values that are independent; those a mixing time apart nearly are. It is NaN thrice where fewer than ten values are in the tail, or they do not differ.
func TailIndex(values []float64) (alpha, low, high float64) {
	n := 0
	for _, v := range values {
		if counts(v) {
			n++
		}
	}
	k := int(math.Pow(float64(n), 0.6))
	if k < 10 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	sorted := largest(values, k+1)
	sum := 0.0
	for _, v := range sorted[:k] {
		sum += math.Log(v / sorted[k])
	}
	if sum == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	alpha = float64(k) / sum
	half := 1.96 * alpha / math.Sqrt(float64(k))
	return alpha, alpha - half, alpha + half
}

// counts says whether a value has a logarithm.
func counts(v float64) bool { return v > 0 && !math.IsInf(v, 1) }

// largest is the k largest of those that count, largest first. Few of many values pass those that were kept before, so that sorting all would take longer.
func largest(values []float64, k int) []float64 {
	kept := make([]float64, 0, 2*k)
	least := 0.0
	cut := func() {
		slices.Sort(kept)
		slices.Reverse(kept)
		kept = kept[:min(k, len(kept))]
	}
	for _, v := range values {
		if v > least && counts(v) {
			if kept = append(kept, v); len(kept) == 2*k {
				cut()
				least = kept[k-1]
			}
		}
	}
	cut()
	return kept
}
