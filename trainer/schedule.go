package trainer

import (
	"math"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// LearningRate is eta of iteration k, from 1: lr, times gamma for each milestone that is over, times k/warmup in the warm-up.
func LearningRate(o *ditherv1.OptimizerSpec, k uint32) float64 {
	lr := o.GetLr()
	for _, m := range o.GetMilestones() {
		if k > m {
			lr = float64(lr * o.GetGamma())
		}
	}
	if w := o.GetWarmup(); k < w {
		lr = float64(lr * (float64(k) / float64(w)))
	}
	return lr
}

// finite says whether every element of v is a number.
func finite(v []float32) bool {
	for _, x := range v {
		if x-x != 0 || math.IsNaN(float64(x)) {
			return false
		}
	}
	return true
}
