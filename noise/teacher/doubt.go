package teacher

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/dither-ml/dither/noise"
)

// doubtEvery is how many questions go by until one sample of one is asked twice; the first question is such a one.
const doubtEvery = 64

// doubter holds a noise that is not ours to its promise that it is replayable: a run is only as reproducible as its noise.
type doubter struct {
	noise.Noise
	name, address string
	questions     atomic.Uint64
}

// Perturb implements noise.Noise. An answer that changes within a moment is an error that wraps noise.ErrAnswer.
func (d *doubter) Perturb(ctx context.Context, seed uint64, k uint32, samples []uint32, logits, out []float32) error {
	n := d.questions.Add(1) - 1
	if n%doubtEvery != 0 || len(samples) == 0 {
		return d.Noise.Perturb(ctx, seed, k, samples, logits, out)
	}
	classes := len(logits) / len(samples)
	i := int(n/doubtEvery) % len(samples)
	again := slices.Clone(logits[i*classes : (i+1)*classes]) // out may be logits
	if err := d.Noise.Perturb(ctx, seed, k, samples, logits, out); err != nil {
		return err
	}
	if err := d.Noise.Perturb(ctx, seed, k, samples[i:i+1], again, again); err != nil {
		return err
	}
	for c, v := range out[i*classes : (i+1)*classes] {
		if math.Float32bits(v) != math.Float32bits(again[c]) {
			return fmt.Errorf("%w: noise service %s (%s), asked twice about iteration %d, sample %d, class %d, answered %v and then %v, and says that it is replayable; `dither noise check %s` tells more",
				noise.ErrAnswer, d.address, d.name, k, samples[i], c, v, again[c], d.address)
		}
	}
	return nil
}
