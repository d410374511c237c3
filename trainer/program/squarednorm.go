package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// SquaredNorm gives ||grad_theta f_l(x_i)||^2 over every trainable parameter, by image and logit, BatchNorm over its running statistics: once
// forward, then once backward with the gradients of all logits of an image side by side; every parameter's gradient is squared and added up by image and logit.
type SquaredNorm struct {
	*state
	spec     model.Spec
	images   int
	view     *view
	steps    []*Step
	squares  *Value           // [images][classes]
	sizes    map[int][]launch // by number of images
	original []int32
}

// gradientsAtOnce bounds the memory of a backward pass: images times classes.
const gradientsAtOnce = 160

// NormImages is how many images to put through a SquaredNorm at once: enough to keep the kernels busy, few enough that the gradients of all their logits fit.
func NormImages(classes int) int { return max(1, gradientsAtOnce/classes) }

// NewSquaredNorm prepares the passes for at most so many images at once.
func NewSquaredNorm(set kernel.Set, spec model.Spec, images int, mean, std []float64, pad int) (*SquaredNorm, error) {
	return squaredNormOn(newMachine(set), spec, images, mean, std, pad)
}

func squaredNormOn(m *machine, spec model.Spec, images int, mean, std []float64, pad int) (*SquaredNorm, error) {
	g, err := model.SquaredNorm(spec, images)
	if err != nil {
		return nil, err
	}
	p := &SquaredNorm{spec: spec, images: images, sizes: map[int][]launch{}, original: originals(images, int32(pad))}
	p.state = newState(m, g.Parameters)
	l := newLowering(g, p.state, 1, images)
	if p.view, err = viewOf(l, spec, images, mean, std, pad); err != nil {
		return nil, err
	}
	l.given[g.Input] = p.view.out
	p.squares = m.keep("squared norms", kernel.Real, images*spec.Classes)
	l.squares = p.squares
	if _, err = l.lower(g.Root); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	l.repeat = spec.Classes
	l.emit(kernel.Op{Kind: kernel.Zero, C: 1, H: 1, W: 1}, 1, p.squares)
	for _, q := range p.order {
		if _, err := l.lower(g.Gradients[q.parameter.Name]); err != nil {
			return nil, fmt.Errorf("%s: %w", spec.Name, err)
		}
	}
	p.steps = rewrite(l.steps, m.passes)
	launches, err := m.build(p.steps)
	if err != nil {
		return nil, fmt.Errorf("gradient norm of %s, %d images with %d logits at once: %w", spec.Name, images, spec.Classes, err)
	}
	p.sizes[images] = launches[0]
	return p, nil
}

// SquaredNorms writes the squared norms of n images [n][classes] to out; pixels [n][C][H][W], the images as they are.
func (p *SquaredNorm) SquaredNorms(pixels []byte, n int, out []float32) error {
	if err := checkInput(p.spec, n, p.images, pixels, nil, out); err != nil {
		return err
	}
	launches, there := p.sizes[n]
	if !there {
		var err error
		if launches, err = p.machine.ready(resized(p.steps, p.images, n)); err != nil {
			return err
		}
		p.sizes[n] = launches
	}
	s := p.machine.stream
	s.Write(p.view.pixels.Memory.Slice(0, len(pixels)), pixels)
	s.Write(p.view.geometry.Memory.Slice(0, 3*n), p.original[:3*n])
	if err := p.machine.run(launches, nil); err != nil {
		return err
	}
	s.Read(out, p.squares.Memory.Slice(0, len(out)))
	return s.Sync()
}

// MemoryBytes is what the program allocated, at 4 bytes a number: mostly the gradients of all logits of all images, never a parameter's.
func (p *SquaredNorm) MemoryBytes() int64 { return p.machine.bytes }

// Close lets the memory go.
func (p *SquaredNorm) Close() {}
