package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// directSquares is ConvSquares as a product: rows of terms of an image of x, gathered once for all functions of the image, turned over, times dy; one chain over the pixels. The gradient of 16 output channels
// at a time is squared while it is in the nearest caches.
type directSquares struct {
	*prepared
	x, dy    *reader
	bordered activation // copy of an image of x
	phase    phase
	terms    int // in whole vectors
	rows     int // place in the workspace of the rows of terms of the images of x, [pixels][terms], and a vector behind
	own      int // worker 0's scratch: the copy of x; or a copy of a block of dy, a piece of the gradient, accumulators
	scratch  int
	products []vector.Product
}

// planDirectSquares plans ConvSquares; x's images are those before they are repeated.
func (k *prepared) planDirectSquares(x, dy *reader, q int) {
	d := &directSquares{prepared: k, x: x, dy: dy}
	d.bordered, d.phase = k.forwardShape()
	d.terms = whole(d.phase.terms(x.activation))
	p := vector.Product{Positions: 1, Rows: d.terms, Depth: len(d.phase.at), Cols: lanes, LeftRow: d.terms}
	for range k.pool.threads {
		d.products = append(d.products, p)
	}
	images := k.Groups * k.N / k.Repeats()
	d.rows = k.reserve(images * d.size())
	d.scratch = max(d.bordered.image(), dy.plane()+d.terms*lanes+9*lanes)
	d.own = k.reserve(k.pool.threads * d.scratch)
	k.add(images, images*p.Depth*d.terms, d.gather)
	k.addSquares(q, p.Depth*d.terms*dy.padded(), d.squares)
}

func (d *directSquares) size() int { return len(d.phase.at)*d.terms + lanes }

func (d *directSquares) rowsOf(image int) []float32 {
	return d.workspace(d.rows+image*d.size(), d.size())
}

// gather lays the terms of an image of x in rows.
func (d *directSquares) gather(worker, image int) {
	x, rows := d.workspace(d.own+worker*d.scratch, d.bordered.image()), d.rowsOf(image)
	clear(x)
	clear(rows)
	d.x.copyBordered(x, d.bordered, image/(d.N/d.Repeats()), image)
	d.phase.gather(rows, x, d.bordered, d.terms, 0, len(d.phase.at))
}

// squares is the sum of the squares of the gradient of image n of dy.
func (d *directSquares) squares(worker, g, n int) float32 {
	scratch := d.workspace(d.own+worker*d.scratch, d.scratch)
	plane, dw, acc := scratch[:d.dy.plane()], scratch[d.dy.plane():][:d.terms*lanes], scratch[d.dy.plane()+d.terms*lanes:][:9*lanes]
	rows := d.rowsOf(n / d.Repeats())
	clear(acc)
	for block := range d.dy.blocks() {
		y := &plane[0]
		if d.dy.plain() {
			y = d.dy.at(d.dy.first, n, block, 0)
		} else {
			d.dy.rows(plane, d.dy.row(), g, n, block, 0, d.dy.h)
		}
		d.v.Accumulate(&d.products[worker], &rows[0], y, &dw[0], &rows[0], true)
		d.v.Sums(&dw[0], &acc[8*lanes], &acc[0], d.terms)
	}
	d.total(acc[:8*lanes])
	return byHalves(acc[4*lanes : 5*lanes])
}
