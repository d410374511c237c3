package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// view is the input of a network: pixels and geometry as the host gives them, and the normalised view.
type view struct {
	pixels, geometry kernel.Memory
	out              *Value
}

// viewOf allocates the input of n images and emits their view.
func viewOf(l *lowering, spec model.Spec, n int, mean, std []float64, pad int) (*view, error) {
	m, s := l.state.machine, spec.Shape
	size := s.Channels * s.Height * s.Width
	if len(mean) != s.Channels || len(std) != s.Channels {
		return nil, fmt.Errorf("%d means and %d standard deviations for %d channels", len(mean), len(std), s.Channels)
	}
	pixels, err := m.given("pixels", kernel.Byte, n*size)
	if err != nil {
		return nil, err
	}
	geometry, err := m.given("geometry", kernel.Int, 3*n)
	if err != nil {
		return nil, err
	}
	constant := func(name string, v []float64) (*Value, error) {
		c, err := m.given(name, kernel.Real, len(v))
		if err == nil {
			m.stream.Write(c.Memory, v)
		}
		return c, err
	}
	mu, err := constant("mean", mean)
	if err != nil {
		return nil, err
	}
	sd, err := constant("std", std)
	if err != nil {
		return nil, err
	}
	o := l.geometry(kernel.View, &model.Op{In: l.graph.Input.Shape()})
	o.Pad = pad
	out := l.real("view", l.size(l.graph.Input.Shape()))
	l.emit(o, 1, pixels, geometry, mu, sd, out)
	return &view{pixels.Memory, geometry.Memory, out}, m.stream.Sync()
}

// Inference gives logits, BatchNorm over its running statistics.
type Inference struct {
	*state
	spec     model.Spec
	pad      int32
	images   int // at most
	view     *view
	steps    []*Step
	sizes    map[int][]launch // by number of images
	logits   *Value
	original []int32
}

// NewInference prepares the network for at most so many images at once.
func NewInference(set kernel.Set, spec model.Spec, images int, mean, std []float64, pad int) (*Inference, error) {
	return inferenceOn(newMachine(set), spec, images, mean, std, pad)
}

func inferenceOn(m *machine, spec model.Spec, images int, mean, std []float64, pad int) (*Inference, error) {
	g, err := model.Inference(spec, images)
	if err != nil {
		return nil, err
	}
	p := &Inference{spec: spec, pad: int32(pad), images: images, sizes: map[int][]launch{}}
	if p.state, err = newState(m, g.Parameters); err != nil {
		return nil, err
	}
	l := newLowering(g, p.state, 1, images)
	if p.view, err = viewOf(l, spec, images, mean, std, pad); err != nil {
		return nil, err
	}
	l.given[g.Input] = p.view.out
	if p.logits, err = l.lower(g.Logits); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	p.logits.lasts = true
	p.steps = rewrite(l.steps, m.passes)
	p.original = originals(images, p.pad)
	p.sizes[images], err = m.bind(p.steps)
	return p, err
}

// originals is the geometry of images as they are.
func originals(n int, pad int32) []int32 {
	g := make([]int32, 3*n)
	for i := range n {
		g[3*i], g[3*i+1] = pad, pad
	}
	return g
}

// Logits writes the logits of n images [n][classes]: pixels [n][C][H][W], geometry [n][3], nil for the images as they are. An image's logits do
// not depend on the others.
func (p *Inference) Logits(pixels []byte, geometry []int32, n int, out []float32) error {
	if geometry == nil && n <= p.images {
		geometry = p.original[:3*n]
	}
	if err := checkInput(p.spec, n, p.images, pixels, geometry, out); err != nil {
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
	size := len(pixels) / n
	s := p.machine.stream
	s.Write(p.view.pixels.Slice(0, n*size), pixels)
	s.Write(p.view.geometry.Slice(0, 3*n), geometry)
	if err := p.machine.run(launches, nil); err != nil {
		return err
	}
	s.Read(out, p.logits.Memory.Slice(0, len(out)))
	return s.Sync()
}

func checkInput(spec model.Spec, n, most int, pixels []byte, geometry []int32, out []float32) error {
	if n < 1 || n > most || len(pixels) != n*spec.Channels*spec.Height*spec.Width || len(geometry) != 3*n || len(out) != n*spec.Classes {
		return fmt.Errorf("%d images (at most %d) with %d pixels, %d geometry and room for %d logits", n, most, len(pixels), len(geometry), len(out))
	}
	return nil
}

// resized are steps of so many images for n of them.
func resized(steps []*Step, images, n int) []*Step {
	out := make([]*Step, len(steps))
	for i, s := range steps {
		c := *s
		c.Op.N = s.Op.N / images * n
		out[i] = &c
	}
	return out
}

// Close lets the memory go.
func (p *Inference) Close() {}
