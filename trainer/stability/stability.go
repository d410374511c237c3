// Package stability measures inference stability: how far a network's logits move when its parameters are perturbed at random. Of theta + delta,
// delta ~ N(0, sd^2 I) over all trainable parameters, f moves to first order by J delta, so that
//
//	E ||f(x; theta + delta) - f(x; theta)||^2 = sd^2 tr(J' J) + O(sd^4) = sd^2 sum_l ||grad f_l(x)||^2 + O(sd^4)
//
// and the mean over images is sd^2 times the gradient norm.
package stability

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// confidence of every interval here.
const confidence = 0.95

// Direction fills z with delta/sd of one trainable parameter, number the parameter's place among them in name order: a function of (seed, draw, number), and so
// the same for every sd, which makes what sd does a smooth curve (docs/random.md, Perturbation).
func Direction(seed uint64, draw, number uint32, z []float64) {
	for e := 0; e < len(z); e += 4 {
		block := elementary.Normals(philox.At(seed, philox.Perturbation, draw, number, uint32(e/4)))
		copy(z[e:], block[:])
	}
}

// Perturb writes theta + sd z to out, rounded once.
func Perturb(theta []float32, sd float64, z []float64, out []float32) {
	for i, v := range theta {
		out[i] = float32(float64(v) + float64(sd*z[i]))
	}
}

// Change is the mean over images of the squared distance of their logits before and after, both [n][classes]. It is not finite where the logits are not.
func Change(before, after []float32, classes int) float64 {
	sum := 0.0
	for i, v := range before {
		d := float64(after[i]) - float64(v)
		sum += float64(d * d)
	}
	return sum / float64(len(before)/classes)
}

// Scale is what perturbations of one size do. Means and intervals (95 %, Student's t) are over draws.
type Scale struct {
	SD float64 `json:"sd"` // of each element of delta
	// ChangeMean is of Change; nil, with its interval, where a draw's logits were not finite.
	ChangeMean *float64 `json:"change_mean"`
	ChangeLow  *float64 `json:"change_low"`
	ChangeHigh *float64 `json:"change_high"`
	FirstOrder float64  `json:"first_order"` // SD^2 times the gradient norm of the same images
	// The fraction of images that is classified rightly; one whose logits hold no number is not.
	AccuracyMean float64 `json:"accuracy_mean"`
	AccuracyLow  float64 `json:"accuracy_low"`
	AccuracyHigh float64 `json:"accuracy_high"`
	NotFinite    int     `json:"not_finite,omitempty"` // draws whose logits were not
}

// NewScale gathers the changes and accuracies of at least two draws.
func NewScale(sd, gradientNorm float64, changes, accuracies []float64) Scale {
	s := Scale{SD: sd, FirstOrder: float64(sd*sd) * gradientNorm}
	for _, c := range changes {
		if math.IsNaN(c) || math.IsInf(c, 0) {
			s.NotFinite++
		}
	}
	if s.NotFinite == 0 {
		mean, low, high := interval(changes, math.Inf(1))
		s.ChangeMean, s.ChangeLow, s.ChangeHigh = &mean, &low, &high
	}
	s.AccuracyMean, s.AccuracyLow, s.AccuracyHigh = interval(accuracies, 1)
	return s
}

// interval is the mean of values, and its interval as far as it lies in [0, most], where the mean does.
func interval(values []float64, most float64) (mean, low, high float64) {
	mean, sd := stat.MeanStdDev(values, nil)
	t := distuv.StudentsT{Sigma: 1, Nu: float64(len(values) - 1)}.Quantile((1 + confidence) / 2)
	half := t * sd / math.Sqrt(float64(len(values)))
	return mean, math.Max(0, mean-half), math.Min(most, mean+half)
}
