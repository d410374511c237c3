package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// A convolution that Winograd's filtering does not fit is a product: a row of terms for every output pixel, gathered from a bordered copy of the image, times the weights [terms][out].

// directPixels is the output pixels gathered at a time: their rows stay in the nearest caches.
const directPixels = 32

// direct is a forward pass or a data gradient.
type direct struct {
	*prepared
	source   *reader
	out      *writer
	bordered activation
	phases   []phase
	weights  []int // of each phase, its place in the workspace
	own      int   // worker 0's scratch: the bordered copy, rows of terms, rows of results
	scratch  int
	most     int // terms of the longest chain
	products []vector.Product
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
		terms := p.terms(source.activation)
		d.weights = append(d.weights, k.reserve(terms*out.padded()))
		d.most = max(d.most, terms)
		work += terms * len(p.at) * out.padded()
		if terms > 0 {
			k.add(len(p.window), terms*out.padded(), func(_, tap int) { d.pack(i, tap, w) })
		}
	}
	d.scratch = d.bordered.image() + directPixels*(whole(d.most)+out.padded()) + lanes
	d.own = k.reserve(k.pool.threads * d.scratch)
	d.products = make([]vector.Product, k.pool.threads)
	k.add(k.Groups*k.imageBlocks(), k.Groups*k.N*work, d.block)
	out.finish()
}

// pack lays the weights of a tap of a phase as [source channels][out].
func (d *direct) pack(phase, tap, w int) {
	p, depth, outs := &d.phases[phase], d.source.depth(), d.out.padded()
	u := d.workspace(d.weights[phase], p.terms(d.source.activation)*outs)[tap*depth*outs:][:depth*outs]
	clear(u)
	weights := d.Real(w)
	from, in, out := p.window[tap], d.R*d.R, d.C*d.R*d.R // in, out: strides of w along the source's and the output's channels
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
	d.out.begin(unit)
	clear(scratch[:d.bordered.image()])
	for n := from; n < to; n++ {
		d.source.copyBordered(scratch, d.bordered, g, n)
		for i := range d.phases {
			d.pixels(worker, scratch, i, n)
		}
		for block := range d.out.activation.blocks() {
			d.out.rows(worker, g, n, block, 0, d.out.h)
		}
		d.out.end(worker, unit, n)
	}
}

// copyBordered fills the inside of the bordered copy of image n.
func (r *reader) copyBordered(dst []float32, bordered activation, g, n int) {
	pad := (bordered.h - r.h) / 2
	for block := range r.blocks() {
		r.rows(dst[block*bordered.plane()+pad*bordered.row()+pad*lanes:], bordered.row(), g, n, block, 0, r.h)
	}
}

// pixels computes the pixels of a phase of image n.
func (d *direct) pixels(worker int, scratch []float32, i, n int) {
	p, outs := &d.phases[i], d.out.padded()
	terms := p.terms(d.source.activation)
	y := d.Real(d.out.y)[n*d.out.image():][:d.out.image()]
	rows := scratch[d.bordered.image():][:directPixels*whole(d.most)+lanes]
	sums := scratch[d.bordered.image()+len(rows):][:directPixels*outs]
	if terms == 0 {
		clear(sums)
	}
	for from := 0; from < len(p.at); from += directPixels {
		to := min(from+directPixels, len(p.at))
		if terms > 0 {
			p.gather(rows, scratch, d.bordered, whole(terms), from, to)
			shape := &d.products[worker]
			*shape = vector.Product{Positions: 1, Rows: eight(to - from), Depth: terms, Cols: outs, LeftRow: whole(terms)}
			u := d.workspace(d.weights[i], terms*outs)
			if whole := d.forward() && outs == lanes && (to-from)%8 == 0; whole { // the result's rows are y's pixels
				d.v.Multiply(shape, &rows[0], &u[0], &y[p.to[from]], nil, nil)
				continue
			}
			d.v.Multiply(shape, &rows[0], &u[0], &sums[0], nil, nil)
		}
		for j, at := range p.to[from:to] {
			for block := range d.out.activation.blocks() {
				*(*[lanes]float32)(y[block*d.out.plane()+at:]) = [lanes]float32(sums[j*outs+block*lanes:])
			}
		}
	}
}
