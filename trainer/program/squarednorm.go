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
	images   int // in flight
	view     *view
	steps    []*Step
	squares  *Value                   // [images][classes]
	sizes    map[int]kernel.Recording // by number of images
	original []int32
}

// gradientsAtOnce bounds the memory of a backward pass: images times classes.
const gradientsAtOnce = 160

// NormImages is how many images to put through a SquaredNorm at once: enough to keep the kernels busy, few enough that the gradients of all their logits fit.
func NormImages(classes int) int { return max(1, gradientsAtOnce/classes) }

// NewSquaredNorm prepares the passes for so many images in flight, or as many as there is memory for: they bound memory and change no number.
func NewSquaredNorm(set kernel.Set, spec model.Spec, images int, mean, std []float64, pad int) (*SquaredNorm, error) {
	return atMost(set, images, func(set kernel.Set, n int) (*SquaredNorm, error) {
		return squaredNormOn(newMachine(set), spec, n, mean, std, pad)
	})
}

func squaredNormOn(m *machine, spec model.Spec, images int, mean, std []float64, pad int) (*SquaredNorm, error) {
	g, err := model.SquaredNorm(spec, images)
	if err != nil {
		return nil, err
	}
	p := &SquaredNorm{spec: spec, images: images, sizes: map[int]kernel.Recording{}, original: originals(images, int32(pad))}
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
	p.sizes[images] = m.record(p.what(images), launches[0])
	return p, nil
}

// what names the passes of n images.
func (p *SquaredNorm) what(n int) string {
	return fmt.Sprintf("the squared norms of %d images through %s", n, p.spec.Name)
}

// SquaredNorms writes the squared norms of n images [n][classes] to out; pixels [n][C][H][W], the images as they are. An image's do not depend on the others. More images than may be in flight follow
// one another, and only the last are waited for.
func (p *SquaredNorm) SquaredNorms(pixels []byte, n int, out []float32) error {
	if err := checkInput(p.spec, n, n, pixels, nil, out); err != nil {
		return err
	}
	for from := 0; from < n; from += p.images {
		to := min(from+p.images, n)
		if err := p.enqueue(imagesOf(pixels, n, from, to), to-from, imagesOf(out, n, from, to)); err != nil {
			return err
		}
	}
	return p.machine.stream.Sync()
}

// enqueue is SquaredNorms of what may be in flight, checked, without the wait.
func (p *SquaredNorm) enqueue(pixels []byte, n int, out []float32) error {
	work, there := p.sizes[n]
	if !there {
		launches, err := p.machine.ready(resized(p.steps, p.images, n))
		if err != nil {
			return err
		}
		work = p.machine.record(p.what(n), launches)
		p.sizes[n] = work
	}
	s := p.machine.stream
	s.Write(p.view.pixels.Memory.Slice(0, len(pixels)), pixels)
	s.Write(p.view.geometry.Memory.Slice(0, 3*n), p.original[:3*n])
	work.Replay()
	s.Read(out, p.squares.Memory.Slice(0, len(out)))
	return nil
}

// MemoryBytes is what the program allocated, at 4 bytes a number and 2 of half precision: mostly the gradients of all logits of all images, never a parameter's.
func (p *SquaredNorm) MemoryBytes() int64 { return p.machine.bytes }

// Close lets the memory go.
func (p *SquaredNorm) Close() {}
