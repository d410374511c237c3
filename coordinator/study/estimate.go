package study

// NewEstimate is the mean of values with its 95 % interval by Student's t, for figures over seeds that are in no table; nil where there are no values.
func NewEstimate(values []float64) *Estimate { return estimate(values) }
