package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// view is the input of a network: pixels and geometry as the host gives them, and the normalised view.
type view struct{ pixels, geometry, out *Value }

// viewOf keeps the input of n images and emits their view.
func viewOf(l *lowering, spec model.Spec, n int, mean, std []float64, pad int) (*view, error) {
	m, s := l.state.machine, spec.Shape
	size := s.Channels * s.Height * s.Width
	if len(mean) != s.Channels || len(std) != s.Channels {
		return nil, fmt.Errorf("%d means and %d standard deviations for %d channels", len(mean), len(std), s.Channels)
	}
	v := &view{m.keep("pixels", kernel.Byte, n*size), m.keep("geometry", kernel.Int, 3*n), l.like(l.graph.Input, "view")}
	l.pack()
	o := l.geometry(kernel.View, &model.Op{In: l.graph.Input.Shape()})
	o.Pad = pad
	l.emit(o, 1, v.pixels, v.geometry, m.constant("mean", mean), m.constant("std", std), v.out)
	return v, nil
}

// Inference gives logits, BatchNorm over its running statistics.
type Inference struct {
	*state
	spec     model.Spec
	pad      int32
	images   int // in flight
	view     *view
	steps    []*Step
	sizes    map[int]kernel.Recording // by number of images
	logits   *Value
	original []int32
}

// NewInference prepares the network for so many images in flight, or as many as there is memory for: they bound memory and change no number.
func NewInference(set kernel.Set, spec model.Spec, images int, mean, std []float64, pad int) (*Inference, error) {
	return atMost(set, images, func(set kernel.Set, n int) (*Inference, error) {
		return inferenceOn(newMachine(set), spec, n, mean, std, pad, nil)
	})
}

// inferenceOn does behind the logits what behind emits, unless it is nil.
func inferenceOn(m *machine, spec model.Spec, images int, mean, std []float64, pad int, behind func(l *lowering, logits *Value)) (*Inference, error) {
	g, err := model.Inference(spec, images)
	if err != nil {
		return nil, err
	}
	p := &Inference{spec: spec, pad: int32(pad), images: images, sizes: map[int]kernel.Recording{}}
	p.state = newState(m, g.Parameters)
	l := newLowering(g, p.state, 1, images)
	if p.view, err = viewOf(l, spec, images, mean, std, pad); err != nil {
		return nil, err
	}
	l.given[g.Input] = p.view.out
	if p.logits, err = l.lower(g.Logits); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	p.logits.lasts = true
	if behind != nil {
		behind(l, p.logits)
	}
	p.steps = rewrite(l.steps, m.passes)
	p.original = originals(images, p.pad)
	launches, err := m.build(p.steps)
	if err != nil {
		return nil, fmt.Errorf("%s, %d images at once: %w", spec.Name, images, err)
	}
	p.sizes[images] = m.record(p.what(images), launches[0])
	return p, nil
}

// what names the forward pass of n images.
func (p *Inference) what(n int) string { return fmt.Sprintf("%d images through %s", n, p.spec.Name) }

// originals is the geometry of images as they are.
func originals(n int, pad int32) []int32 {
	g := make([]int32, 3*n)
	for i := range n {
		g[3*i], g[3*i+1] = pad, pad
	}
	return g
}

// Logits writes the logits of n images [n][classes]: pixels [n][C][H][W], geometry [n][3], nil for the images as they are. An image's logits do
// not depend on the others. More images than may be in flight follow one another, and only the last are waited for: a device goes on while the host prepares the next.
func (p *Inference) Logits(pixels []byte, geometry []int32, n int, out []float32) error {
	if err := checkInput(p.spec, n, n, pixels, geometry, out); err != nil {
		return err
	}
	for from := 0; from < n; from += p.images {
		to := min(from+p.images, n)
		if err := p.enqueue(imagesOf(pixels, n, from, to), imagesOf(geometry, n, from, to), to-from, imagesOf(out, n, from, to)); err != nil {
			return err
		}
	}
	return p.machine.stream.Sync()
}

// enqueue is Logits of what may be in flight, checked, without the wait.
func (p *Inference) enqueue(pixels []byte, geometry []int32, n int, out []float32) error {
	if geometry == nil {
		geometry = p.original[:3*n]
	}
	work, there := p.sizes[n]
	if !there {
		launches, err := p.machine.ready(resized(p.steps, p.images, n))
		if err != nil {
			return err
		}
		work = p.machine.record(p.what(n), launches)
		p.sizes[n] = work
	}
	size := len(pixels) / n
	s := p.machine.stream
	s.Write(p.view.pixels.Memory.Slice(0, n*size), pixels)
	s.Write(p.view.geometry.Memory.Slice(0, 3*n), geometry)
	work.Replay()
	s.Read(out, p.logits.Memory.Slice(0, len(out)))
	return nil
}

// checkInput wants n images, at most so many; a nil geometry is the images as they are.
func checkInput(spec model.Spec, n, most int, pixels []byte, geometry []int32, out []float32) error {
	if n < 1 || n > most || len(pixels) != n*spec.Channels*spec.Height*spec.Width || geometry != nil && len(geometry) != 3*n || len(out) != n*spec.Classes {
		return fmt.Errorf("%d images (at most %d) with %d pixels, %d geometry and room for %d logits", n, most, len(pixels), len(geometry), len(out))
	}
	return nil
}

// resized are steps of so many images for n of them.
func resized(steps []*Step, images, n int) []*Step {
	out := make([]*Step, len(steps))
	for i, s := range steps {
		c := *s
		if c.Op.Kind != kernel.Gather {
			c.Op.N = s.Op.N / images * n
		}
		out[i] = &c
	}
	return out
}

// MemoryBytes is what the program allocated, at 4 bytes a number and 2 of half precision.
func (p *Inference) MemoryBytes() int64 { return p.machine.bytes }

// Close lets the memory go.
func (p *Inference) Close() {}
