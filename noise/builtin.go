package noise

import (
	"context"
	"fmt"
	"math"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// none leaves the logits as they are.
type none struct{}

func (none) Describe(context.Context) (Description, error) {
	return Description{Name: None, Parameters: map[string]float64{}, Replayable: true, Unbiased: true}, nil
}

func (none) Perturb(_ context.Context, _ uint64, _ uint32, samples []uint32, logits, out []float32) error {
	if _, err := shape(samples, logits, out); err != nil {
		return err
	}
	copy(out, logits)
	return nil
}

func (none) Close() error { return nil }

// gaussian is y + N(0, sigma2 I). Class l of a sample takes lane l%4 of elementary.Normals of block l/4 of (seed, Gaussian, iteration, sample);
// the sum is made in float64 and rounded once.
type gaussian struct{ sigma2, sd float64 }

func newGaussian(sigma2 float64) gaussian { return gaussian{sigma2, math.Sqrt(sigma2)} }

func (g gaussian) Describe(context.Context) (Description, error) {
	return Description{Name: Gaussian, Parameters: map[string]float64{"sigma2": g.sigma2}, Replayable: true, Unbiased: true, Variance: g.sigma2}, nil
}

func (g gaussian) With(parameters map[string]float64) (Noise, error) {
	if err := checkParameters(Gaussian, parameters); err != nil {
		return nil, err
	}
	return newGaussian(parameters["sigma2"]), nil
}

func (g gaussian) Perturb(_ context.Context, seed uint64, iteration uint32, samples []uint32, logits, out []float32) error {
	classes, err := shape(samples, logits, out)
	if err != nil {
		return err
	}
	for i, sample := range samples {
		var z [4]float64
		for l := range classes {
			if l%4 == 0 {
				z = elementary.Normals(philox.At(seed, philox.Gaussian, iteration, sample, uint32(l/4)))
			}
			at := i*classes + l
			out[at] = float32(float64(logits[at]) + float64(g.sd*z[l%4]))
		}
	}
	if i := firstNotFinite(out); i >= 0 {
		return fmt.Errorf("%w: with noise of variance %v the logit of sample %d, class %d leaves float32: take a smaller sigma2",
			ErrRequest, g.sigma2, samples[i/classes], i%classes)
	}
	return nil
}

func (gaussian) Close() error { return nil }

// symmetric is the paper's Eq. 21: each logit, independently, with probability p takes the value of one of the other L-1 logits of its sample,
// uniformly, so that E = (1-p) y_l + p/(L-1) sum_{m != l} y_m. Class l takes block l of (seed, Symmetric, iteration, sample): words 0 and 1
// decide (Unit < p), words 2 and 3 choose (Below L-1 counts the others, skipping l).
type symmetric struct{ p float64 }

// Describe promises no more than is true: each logit is drawn toward the mean of the others, by an amount that depends on them.
func (s symmetric) Describe(context.Context) (Description, error) {
	d := Description{Name: Symmetric, Parameters: map[string]float64{"p": s.p}, Replayable: true, Variance: -1}
	if s.p == 0 {
		d.Unbiased, d.Variance = true, 0
	}
	return d, nil
}

func (s symmetric) With(parameters map[string]float64) (Noise, error) {
	if err := checkParameters(Symmetric, parameters); err != nil {
		return nil, err
	}
	return symmetric{parameters["p"]}, nil
}

func (s symmetric) Perturb(_ context.Context, seed uint64, iteration uint32, samples []uint32, logits, out []float32) error {
	classes, err := shape(samples, logits, out)
	if err != nil {
		return err
	}
	if classes == 1 && s.p > 0 {
		return fmt.Errorf("%w: symmetric noise gives a logit the value of another, and there is only one class", ErrRequest)
	}
	var few [128]float32 // out may be logits: a swap must see the row as it was
	row := few[:]
	if classes > len(few) {
		row = make([]float32, classes)
	}
	for i, sample := range samples {
		row = row[:copy(row[:classes], logits[i*classes:])]
		for l := range row {
			out[i*classes+l] = row[s.source(philox.At(seed, philox.Symmetric, iteration, sample, uint32(l)), l, classes)]
		}
	}
	return nil
}

// source is the class whose logit class l takes, given its block.
func (s symmetric) source(w [4]uint32, l, classes int) int {
	if !(philox.Unit(w[0], w[1]) < s.p) {
		return l
	}
	other := int(philox.Below(w[2], w[3], uint32(classes-1)))
	if other >= l {
		other++
	}
	return other
}

func (symmetric) Close() error { return nil }
