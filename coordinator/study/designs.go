package study

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func sorted(parameters map[string]float64) []string { return slices.Sorted(maps.Keys(parameters)) }

// NoNoise, Gaussian and Symmetric are the noises of dither, drawn anew at every iteration.
func NoNoise() *ditherv1.NoiseSpec { return &ditherv1.NoiseSpec{Kind: "none", Refresh: "iteration"} }

// Gaussian is y + N(0, sigma2 I).
func Gaussian(sigma2 float64) *ditherv1.NoiseSpec {
	return &ditherv1.NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": sigma2}, Refresh: "iteration"}
}

// Symmetric is the paper's Eq. 21.
func Symmetric(p float64) *ditherv1.NoiseSpec {
	return &ditherv1.NoiseSpec{Kind: "symmetric", Parameters: map[string]float64{"p": p}, Refresh: "iteration"}
}

// DefaultSigma2 and DefaultP are the scales of Figure 2.
var (
	DefaultSigma2 = []float64{0.1, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	DefaultP      = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}
)

// DefaultScales are the noises of Figure 2: noiseless distillation, then Gaussian and symmetric noise of every scale.
func DefaultScales() []*ditherv1.NoiseSpec {
	out := []*ditherv1.NoiseSpec{NoNoise()}
	for _, v := range DefaultSigma2 {
		out = append(out, Gaussian(v))
	}
	for _, v := range DefaultP {
		out = append(out, Symmetric(v))
	}
	return out
}

// Scales are arms that differ in the noise alone (Figure 2).
func Scales(noises []*ditherv1.NoiseSpec, batch uint32, lr float64) []*ditherv1.Arm {
	var arms []*ditherv1.Arm
	for _, n := range noises {
		arms = append(arms, &ditherv1.Arm{Noise: proto.CloneOf(n), Batch: batch, Lr: lr})
	}
	return arms
}

// Rules by which the learning rate follows the batch size.
const (
	Constant = "constant"
	Linear   = "linear" // Goyal et al. 2017
	Sqrt     = "sqrt"
)

// Batches are arms that differ in noise and batch size; the learning rate is baseLR at baseBatch and follows a rule from there.
func Batches(noises []*ditherv1.NoiseSpec, batches []uint32, baseBatch uint32, baseLR float64, rule string) ([]*ditherv1.Arm, error) {
	power, ok := map[string]float64{Constant: 0, Linear: 1, Sqrt: 0.5}[rule]
	if !ok {
		return nil, fmt.Errorf("%w: lr rule: %q; it is %s, %s or %s", ditherv1.ErrSpec, rule, Constant, Linear, Sqrt)
	}
	if baseBatch == 0 {
		return nil, fmt.Errorf("%w: batch: 0; the rule needs the batch that the learning rate is meant for", ditherv1.ErrSpec)
	}
	var arms []*ditherv1.Arm
	for _, n := range noises {
		for _, b := range batches {
			lr := baseLR * math.Pow(float64(b)/float64(baseBatch), power)
			arms = append(arms, &ditherv1.Arm{Noise: proto.CloneOf(n), Batch: b, Lr: lr})
		}
	}
	return arms, nil
}

// EtaOverB are arms with eta/B and the noise fixed while eta and B vary. Over the same epochs K is inverse to B, so that eta K / (1 - mu) is equal too; Plan counts epochs as n/B iterations
// here, without dropping the rest of one, which would make eta K differ. By Eqs. 15 and 16 the runs should coincide.
func EtaOverB(noises []*ditherv1.NoiseSpec, batches []uint32, baseBatch uint32, baseLR float64) ([]*ditherv1.Arm, error) {
	return Batches(noises, batches, baseBatch, baseLR, Linear)
}

// LabelNoise are arms whose learning rate is eta c, variance sigma2/c and length K/c, for each factor c: eta sigma2/B and eta K / (1 - mu) are fixed while eta/B varies. By Eqs. 15 and 16 only
// the label noise's part of the stochastic gradient's variance is equal; that of the sampling grows with c. It takes Gaussian noise: the variance of a swap depends on the labels.
func LabelNoise(noise *ditherv1.NoiseSpec, factors []float64, batch uint32, lr float64) ([]*ditherv1.Arm, error) {
	sigma2 := noise.GetParameters()["sigma2"]
	if noise.GetKind() != "gaussian" || !(sigma2 > 0) {
		return nil, fmt.Errorf("%w: noise: %s; the test needs gaussian noise with a positive sigma2", ditherv1.ErrSpec, noiseName(noise))
	}
	var arms []*ditherv1.Arm
	for _, c := range factors {
		if !(c > 0) || math.IsInf(c, 0) {
			return nil, fmt.Errorf("%w: factor: %v; the learning rate is multiplied by it, so it must be positive", ditherv1.ErrSpec, c)
		}
		n := proto.CloneOf(noise)
		n.Parameters["sigma2"] = sigma2 / c
		arms = append(arms, &ditherv1.Arm{Noise: n, Batch: batch, Lr: lr * c, Stretch: 1 / c})
	}
	return arms, nil
}
