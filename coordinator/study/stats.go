package study

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// confidence of every interval here.
const confidence = 0.95

// estimate is the mean of values with its interval by Student's t; nil where there are no values.
func estimate(values []float64) *Estimate {
	if len(values) == 0 {
		return nil
	}
	e := &Estimate{N: len(values)}
	if len(values) == 1 {
		e.Mean = values[0]
		return e
	}
	e.Mean, e.SD = stat.MeanStdDev(values, nil)
	half := quantileT(len(values)-1, confidence) * e.SD / math.Sqrt(float64(len(values)))
	low, high := e.Mean-half, e.Mean+half
	e.Low, e.High = &low, &high
	return e
}

// quantileT is what |t| with so many degrees of freedom exceeds with probability 1 - confidence.
func quantileT(freedom int, confidence float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(freedom)}.Quantile(1 - (1-confidence)/2)
}

// ranks are 1..n in the order of values; ties share the mean of theirs.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, o := range order[i:j] {
			out[o] = float64(i+j+1) / 2
		}
		i = j
	}
	return out
}

// spearman is Spearman's correlation; 0 where x or y is constant, and so no order is seen.
func spearman(x, y []float64) float64 {
	a, b := ranks(x), ranks(y)
	if stat.Variance(a, nil) == 0 || stat.Variance(b, nil) == 0 {
		return 0
	}
	return stat.Correlation(a, b, nil)
}

// draws are pseudo-random numbers whose sequence is a function of the seeds alone (PCG-DXSM, whose algorithm is fixed).
type draws struct{ source *rand.PCG }

func newDraws(purpose uint64) draws { return draws{rand.NewPCG(0x646974686572, purpose)} }

// below is uniform on 0..n-1 (Lemire 2019, without the rejection: n is far below 2^32).
func (d draws) below(n int) int {
	hi, _ := bits.Mul64(d.source.Uint64(), uint64(n))
	return int(hi)
}

// quantile is that of sorted values, by linear interpolation (Hyndman and Fan's type 7).
func quantile(sorted []float64, p float64) float64 {
	h := p * float64(len(sorted)-1)
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (h-float64(i))*(sorted[i+1]-sorted[i])
}
