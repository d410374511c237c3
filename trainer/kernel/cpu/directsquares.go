package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// directSquares is ConvSquares as a product, as in directWeight, of a copy of an image of x that serves all functions of the image; one chain over the pixels. The gradient of 16 output channels at a time is
// squared while it is in the nearest caches.
type directSquares struct {
	*prepared
	x, dy    *reader
	bordered bordered // copy of an image of x
	phase    phase
	depth    int // rows of the gradient that a tap has
	copies   int // place in the workspace of the copies of the images of x
	own      int // worker 0's scratch: a row of x; or a copy of a block of dy, a piece of the gradient, accumulators
	scratch  int
	windows  []vector.Window
}

// planDirectSquares plans ConvSquares; x's images are those before they are repeated.
func (k *prepared) planDirectSquares(x, dy *reader, q int) {
	d := &directSquares{prepared: k, x: x, dy: dy, depth: x.depth(), windows: make([]vector.Window, k.pool.threads)}
	d.bordered, d.phase = k.weightShape(d.depth)
	images := k.Groups * k.N / k.Repeats()
	d.copies = k.reserve(images * whole(d.bordered.size()))
	d.scratch = max(x.row(), dy.plane()+d.width()+9*lanes)
	d.own = k.reserve(k.pool.threads * d.scratch)
	k.add(images, images*d.bordered.size()/8, func(worker, image int) {
		to := d.copy(image)
		clear(to)
		x.copyBordered(to, d.workspace(d.own+worker*d.scratch, x.row()), d.bordered, image/(d.N/d.Repeats()), image)
	})
	k.addSquares(q, d.phase.pixels*d.width()*dy.blocks(), d.squares)
}

// width is the elements of a gradient [R*R][depth] of 16 output channels.
func (d *directSquares) width() int { return d.R * d.R * d.depth * lanes }

func (d *directSquares) copy(image int) []float32 {
	return d.workspace(d.copies+image*whole(d.bordered.size()), d.bordered.size())
}

// squares is the sum of the squares of the gradient of image n of dy.
func (d *directSquares) squares(worker, g, n int) float32 {
	scratch := d.workspace(d.own+worker*d.scratch, d.scratch)
	plane, dw, acc := scratch[:d.dy.plane()], scratch[d.dy.plane():][:d.width()], scratch[d.dy.plane()+d.width():][:9*lanes]
	x, p, window := d.copy(n/d.Repeats()), &d.phase, &d.windows[worker]
	*window = vector.Window{Pieces: len(p.offsets), Depth: p.depth, Cols: lanes, Block: d.dy.plane(), Piece: len(dw) / len(p.offsets)}
	clear(acc)
	for block := range d.dy.blocks() {
		y := &plane[0]
		if d.dy.plain() {
			y = d.dy.at(d.dy.first, n, block, 0)
		} else {
			d.dy.rows(plane, d.dy.row(), g, n, block, 0, d.dy.h)
		}
		clear(dw)
		for pixel := 0; pixel < p.pixels; pixel += together {
			window.Pixels = min(together, p.pixels-pixel)
			d.v.ConvolveGrad(window, &x[0], &p.at[pixel], &p.offsets[0], y, &dw[0], &p.to[pixel])
		}
		d.v.Sums(&dw[0], &acc[8*lanes], &acc[0], len(dw)/lanes)
	}
	d.total(acc[:8*lanes])
	return byHalves(acc[4*lanes : 5*lanes])
}
