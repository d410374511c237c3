package cpu

import (
	"unsafe"

	"github.com/dither-ml/dither/trainer/kernel/cpu/vector"
)

// A convolution that Winograd's filtering does not fit reads its terms from a bordered copy of the image, where a row of the window lies side by side, and multiplies them by the weights [terms][out].

// direct is a forward pass or a data gradient.
type direct struct {
	*prepared
	source   *reader
	out      *writer
	bordered bordered
	phases   []phase
	weights  []int // of each phase, its place in the workspace
	own      int   // worker 0's scratch: the bordered copy, a row of the source
	scratch  int
	windows  []vector.Window
}

// planDirect plans a pass; the weights are argument w.
func (k *prepared) planDirect(source *reader, out *writer, w int) {
	d := &direct{prepared: k, source: source, out: out}
	if k.forward() {
		var p phase
		d.bordered, p = k.forwardShape()
		d.phases = []phase{p}
	} else {
		d.bordered, d.phases = k.dataGradShape()
	}
	work := 0
	for i := range d.phases {
		p := &d.phases[i]
		size := p.terms() * out.padded()
		d.weights = append(d.weights, k.reserve(size))
		work += size * p.pixels
		if size > 0 {
			k.add(len(p.taps), size, func(_, tap int) { d.pack(i, tap, w) })
		}
	}
	d.scratch = whole(d.bordered.size()) + source.row()
	d.own = k.reserve(k.pool.threads * d.scratch)
	d.windows = make([]vector.Window, k.pool.threads)
	k.add(k.Groups*k.imageBlocks(), k.Groups*k.N*work, d.block)
	out.finish()
}

// pack lays the weights of a tap of a phase as [source channels][out].
func (d *direct) pack(phase, tap, w int) {
	p, depth, outs := &d.phases[phase], d.source.channels, d.out.padded()
	u := d.workspace(d.weights[phase]+tap*depth*outs, depth*outs)
	clear(u)
	weights := d.Real(w)
	from, in, out := p.taps[tap], d.R*d.R, d.C*d.R*d.R // in, out: strides of w along the source's and the output's channels
	if !d.forward() {
		in, out = out, in
	}
	for i := range d.source.channels {
		for o := range d.out.channels {
			u[i*outs+o] = weights[from+i*in+o*out]
		}
	}
}

// block computes a block of images.
func (d *direct) block(worker, unit int) {
	g, from, to := d.prepared.block(unit)
	scratch := d.workspace(d.own+worker*d.scratch, d.scratch)
	image, row := scratch[:d.bordered.size()], scratch[whole(d.bordered.size()):]
	d.out.begin(unit)
	clear(image)
	for n := from; n < to; n++ {
		d.source.copyBordered(image, row, d.bordered, g, n)
		for i := range d.phases {
			d.pixels(worker, image, i, n)
		}
		for block := range d.out.activation.blocks() {
			d.out.rows(worker, g, n, block, 0, d.out.h)
		}
		d.out.end(worker, unit, n)
	}
}

// pixels computes the pixels of a phase of image n: zeros where it has no terms.
func (d *direct) pixels(worker int, image []float32, i, n int) {
	p, window := &d.phases[i], &d.windows[worker]
	y := &d.Real(d.out.y)[n*d.out.image()]
	*window = vector.Window{Pixels: len(p.at), Pieces: len(p.offsets), Depth: p.depth, Cols: d.out.padded(), Block: d.out.plane()}
	d.v.Convolve(window, &image[0], &p.at[0], unsafe.SliceData(p.offsets), unsafe.SliceData(d.workspace(d.weights[i], p.terms()*d.out.padded())), y, &p.to[0])
}
