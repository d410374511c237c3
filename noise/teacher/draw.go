package teacher

import (
	"context"
	"math"

	"github.com/dither-ml/dither/noise"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/program"
)

// A built-in noise is drawn where the logits are, with the same bits (the kernels' suite holds them to package noise). Logits of a forward pass get theirs behind it, by the kernel set: on a GPU
// that spares the host the draws, and takes no trip of its own. Logits from the cache or from a file are on the host and are wanted there: a device would only add a trip. A service's noise is
// drawn by the service.

// drawn is the noise that a program draws behind the network, if it can.
func (s *Service) drawn() (n program.Noise, can bool) {
	n.Seed = s.spec.GetSeed()
	switch parameters := s.spec.GetNoise().GetParameters(); s.spec.GetNoise().GetKind() {
	case noise.Gaussian:
		n.Kind, n.Scale = kernel.GaussianNoise, math.Sqrt(parameters["sigma2"])
	case noise.Symmetric:
		n.Kind, n.Scale = kernel.SymmetricNoise, parameters["p"]
	}
	return n, n.Kind != 0 && s.classes > 1 // which symmetric noise needs; package noise says so
}

// perturb puts the noise on the rows of labels [n][classes] that have none yet.
func (s *Service) perturb(ctx context.Context, k uint32, samples []uint32, noisy []bool, labels []float32) error {
	var ids []uint32
	var rows []float32
	for i, id := range samples {
		if !noisy[i] {
			ids, rows = append(ids, id), append(rows, s.row(labels, i)...)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := s.noise.Perturb(ctx, s.spec.GetSeed(), noise.Iteration(s.spec.GetNoise(), k), ids, rows, rows); err != nil {
		return err
	}
	for i := range samples {
		if !noisy[i] {
			rows = rows[copy(s.row(labels, i), rows):]
		}
	}
	return nil
}
