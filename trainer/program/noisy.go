package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// Noise is what a program draws on its logits.
type Noise struct {
	Kind  kernel.Kind // GaussianNoise or SymmetricNoise
	Scale float64     // see Kind
	Seed  uint64
}

// NoisyInference gives logits and, of the same forward pass, noisy ones: they are drawn where the logits are, so that the noise takes no trip of its own to a device.
type NoisyInference struct {
	*Inference
	samples, step, noisy *Value
	words                []int32 // samples on their way
}

// NewNoisyInference is NewInference with a noise behind it.
func NewNoisyInference(set kernel.Set, spec model.Spec, images int, mean, std []float64, pad int, noise Noise) (*NoisyInference, error) {
	p := &NoisyInference{words: make([]int32, images)}
	var err error
	p.Inference, err = inferenceOn(newMachine(set), spec, images, mean, std, pad, func(l *lowering, logits *Value) {
		m := l.state.machine
		p.samples, p.step, p.noisy = m.keep("samples", kernel.Int, images), m.keep("step", kernel.Int, 1), l.real("noisy", logits.Len)
		p.noisy.lasts = true
		l.emit(kernel.Op{Kind: noise.Kind, K: spec.Classes, Scale: noise.Scale, Seed: noise.Seed}, 1, logits, p.samples, p.step, p.noisy)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// NoisyLogits is Logits, of no more images than may be in flight, that writes the noisy logits at a step to noisy [n][classes] too; samples [n] and step are those of docs/random.md.
func (p *NoisyInference) NoisyLogits(pixels []byte, geometry []int32, samples []uint32, step uint32, n int, out, noisy []float32) error {
	if err := checkInput(p.spec, n, p.images, pixels, geometry, out); err != nil {
		return err
	}
	if len(samples) != n || len(noisy) != len(out) {
		return fmt.Errorf("%d images with %d samples, and room for %d logits and %d noisy ones", n, len(samples), len(out), len(noisy))
	}
	for i, id := range samples {
		p.words[i] = int32(id)
	}
	s := p.machine.stream
	s.Write(p.samples.Memory.Slice(0, n), p.words[:n])
	s.Write(p.step.Memory, []int32{int32(step)})
	if err := p.enqueue(pixels, geometry, n, out); err != nil {
		return err
	}
	s.Read(noisy, p.noisy.Memory.Slice(0, len(noisy)))
	return s.Sync()
}
