package teacher

import (
	"context"
	"fmt"

	"github.com/dither-ml/dither/dataloader"
	"github.com/dither-ml/dither/noise"
)

// view is how the teacher sees a sample at iteration k.
func (s *Service) view(k, sample uint32) dataloader.Geometry {
	return dataloader.View(s.spec.GetSeed(), s.order.Epoch(k), sample, s.views.augmented, s.Data.Flip, pad)
}

// softLabels writes the teacher's logits [n][classes] of the samples' views at iteration k, and says of which it has drawn the noise too.
func (s *Service) softLabels(ctx context.Context, k uint32, samples []uint32, out []float32, noisy []bool) error {
	if s.logits != nil {
		for i, id := range samples {
			copy(s.row(out, i), s.row(s.logits, int(id)))
		}
		return nil
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	var missing []int
	for i, id := range samples {
		if s.cache.get(s.views.key(id, s.view(k, id)), s.row(out, i)) {
			s.hits++
		} else {
			missing = append(missing, i)
		}
	}
	s.misses += uint64(len(missing))
	for from := 0; from < len(missing); from += images {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.forward(k, samples, missing[from:min(from+images, len(missing))], out, noisy); err != nil {
			return err
		}
	}
	return nil
}

// forward puts the samples at the given places through the teacher, and what it says without noise into the cache.
func (s *Service) forward(k uint32, samples []uint32, places []int, out []float32, noisy []bool) error {
	size := s.imageBytes()
	for j, i := range places {
		id := samples[i]
		copy(s.pixels[j*size:(j+1)*size], s.Data.Train.Pixels[int(id)*size:])
		g := s.view(k, id)
		s.ids[j] = id
		s.geometry[3*j], s.geometry[3*j+1], s.geometry[3*j+2] = g.DY, g.DX, g.Flip
	}
	n := len(places)
	pixels, geometry, logits, drawn := s.pixels[:n*size], s.geometry[:3*n], s.out[:n*s.classes], s.noisy[:n*s.classes]
	var err error
	if s.draws != nil {
		err = s.draws.NoisyLogits(pixels, geometry, s.ids[:n], noise.Iteration(s.spec.GetNoise(), k), n, logits, drawn)
	} else {
		err = s.network.Logits(pixels, geometry, n, logits)
	}
	if err != nil {
		return err
	}
	for j, i := range places {
		row := s.row(logits, j)
		if !finite(row) {
			return fmt.Errorf("the teacher's logits of training image %d are not finite: its parameters are not a trained network's", samples[i])
		}
		s.cache.put(s.views.key(samples[i], s.view(k, samples[i])), row)
		// Noise that leaves float32 is for package noise, which says so.
		if noisy[i] = s.draws != nil && finite(s.row(drawn, j)); noisy[i] {
			row = s.row(drawn, j)
		}
		copy(s.row(out, i), row)
	}
	return nil
}

// row is that of image i in numbers [n][classes].
func (s *Service) row(numbers []float32, i int) []float32 {
	return numbers[i*s.classes : (i+1)*s.classes]
}

func finite(row []float32) bool {
	for _, v := range row {
		if v-v != 0 {
			return false
		}
	}
	return true
}
