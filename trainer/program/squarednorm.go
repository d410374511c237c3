package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// SquaredNorm gives ||grad_theta f_l(x_i)||^2 over every trainable parameter, by image and logit, BatchNorm over its running statistics: once
// forward, then a backward pass for each logit, in which every parameter's gradient is squared and added up by image.
type SquaredNorm struct {
	*state
	spec     model.Spec
	images   int
	view     *view
	forward  []*Step
	backward []*Step
	probe    int // of the backward steps: the one that chooses the logit
	squares  *Value
	sizes    map[int]*normLaunches
	original []int32
	column   []float32
}

// normLaunches are the passes for one number of images.
type normLaunches struct {
	forward  []launch
	backward [][]launch // by logit
}

// NewSquaredNorm prepares the passes for at most so many images at once.
func NewSquaredNorm(set kernel.Set, spec model.Spec, images int, mean, std []float64, pad int) (*SquaredNorm, error) {
	g, err := model.SquaredNorm(spec, images)
	if err != nil {
		return nil, err
	}
	p := &SquaredNorm{spec: spec, images: images, sizes: map[int]*normLaunches{}, original: originals(images, int32(pad)), column: make([]float32, images)}
	m := newMachine(set)
	if p.state, err = newState(m, g.Parameters); err != nil {
		return nil, err
	}
	l := newLowering(g, p.state, 1, images)
	if p.view, err = viewOf(l, spec, images, mean, std, pad); err != nil {
		return nil, err
	}
	l.given[g.Input] = p.view.out
	if p.squares, err = m.given("squared norms", kernel.Real, images); err != nil {
		return nil, err
	}
	l.squares = p.squares
	if _, err = l.lower(g.Root); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	split := len(l.steps)
	l.emit(kernel.Op{Kind: kernel.Zero, C: 1, H: 1, W: 1}, 1, p.squares)
	for _, q := range p.order {
		if _, err := l.lower(g.Gradients[q.parameter.Name]); err != nil {
			return nil, fmt.Errorf("%s: %w", spec.Name, err)
		}
	}
	p.forward, p.backward = l.steps[:split], l.steps[split:]
	keepForward(p.forward, p.backward)
	if _, err := m.bind(l.steps); err != nil {
		return nil, err
	}
	for i, s := range p.backward {
		if s.Op.Kind == kernel.OneHot {
			p.probe = i
		}
	}
	_, err = p.ready(images)
	return p, err
}

// keepForward makes what the forward pass leaves to the backward passes last through all of them.
func keepForward(forward, backward []*Step) {
	made := map[*Value]bool{}
	for _, s := range forward {
		for _, v := range s.Args[len(s.Args)-s.Outputs:] {
			made[v] = true
		}
	}
	for _, s := range backward {
		for _, v := range s.Args {
			if made[v] {
				v.lasts = true
			}
		}
	}
}

func (p *SquaredNorm) ready(n int) (*normLaunches, error) {
	if l, there := p.sizes[n]; there {
		return l, nil
	}
	forward, err := p.machine.ready(resized(p.forward, n))
	if err != nil {
		return nil, err
	}
	l := &normLaunches{forward: forward}
	for class := range p.spec.Classes {
		steps := resized(p.backward, n)
		steps[p.probe].Op.Class = class
		launches, err := p.machine.ready(steps)
		if err != nil {
			return nil, err
		}
		l.backward = append(l.backward, launches)
	}
	p.sizes[n] = l
	return l, nil
}

// SquaredNorms writes the squared norms of n images [n][classes] to out; pixels [n][C][H][W], the images as they are.
func (p *SquaredNorm) SquaredNorms(pixels []byte, n int, out []float32) error {
	if err := checkInput(p.spec, n, p.images, pixels, p.original[:3*min(n, p.images)], out); err != nil {
		return err
	}
	l, err := p.ready(n)
	if err != nil {
		return err
	}
	s := p.machine.stream
	s.Write(p.view.pixels.Slice(0, len(pixels)), pixels)
	s.Write(p.view.geometry.Slice(0, 3*n), p.original[:3*n])
	if err := p.machine.run(l.forward, nil); err != nil {
		return err
	}
	for class, backward := range l.backward {
		if err := p.machine.run(backward, nil); err != nil {
			return err
		}
		s.Read(p.column[:n], p.squares.Memory.Slice(0, n))
		if err := s.Sync(); err != nil {
			return err
		}
		for i, v := range p.column[:n] {
			out[i*p.spec.Classes+class] = v
		}
	}
	return nil
}

// Close lets the memory go.
func (p *SquaredNorm) Close() {}
