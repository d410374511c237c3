package trainer

import (
	"fmt"
	"math"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
	"github.com/dither-ml/dither/trainer/model"
)

// initial fills v, one of the model's parameters, for a start from nothing (He et al., "Delving deep into rectifiers", 2015): weights are
// normal with variance 2/fan-in, drawn from (seed, the parameter's number among the trainable ones in name order); gamma and the
// running variance are 1, everything else 0.
func initial(seed uint64, p model.Parameter, number uint32, v []float32) error {
	switch p.Kind {
	case model.Weight:
		sd := math.Sqrt(2 / float64(p.FanIn))
		for e := 0; e < len(v); e += 4 {
			z := elementary.Normals(philox.At(seed, philox.Init, 0, number, uint32(e/4)))
			for i := 0; i < 4 && e+i < len(v); i++ {
				v[e+i] = float32(float64(sd * z[i]))
			}
		}
	case model.Gamma, model.Variance:
		for i := range v {
			v[i] = 1
		}
	case model.Bias, model.Beta, model.Mean:
		clear(v)
	default:
		return fmt.Errorf("no start is known for parameter %s", p.Name)
	}
	return nil
}
