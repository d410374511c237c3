package study

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// NewEstimate is the mean of values with its 95 % interval by Student's t; nil where there are no values.
func NewEstimate(values []float64) *Estimate {
	if len(values) == 0 {
		return nil
	}
	e := &Estimate{N: len(values), Mean: stat.Mean(values, nil)}
	if len(values) == 1 {
		return e
	}
	e.SD = stat.StdDev(values, nil)
	half := distuv.StudentsT{Sigma: 1, Nu: float64(len(values) - 1)}.Quantile(0.975) * e.SD / math.Sqrt(float64(len(values)))
	low, high := e.Mean-half, e.Mean+half
	e.Low, e.High = &low, &high
	return e
}
