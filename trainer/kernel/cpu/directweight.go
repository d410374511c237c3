package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// directWeight is a weight gradient as a product: rows of terms, as in direct, turned over, times dy; one chain over the pixels of a block of images.
type directWeight struct {
	*prepared
	x, dy    *reader
	bordered activation // of x's copy
	phase    phase
	terms    int // in whole vectors
	own      int // worker 0's scratch: copies of x and dy, rows of terms, rows of dy
	scratch  int
	products []vector.Product
}

func (k *prepared) newDirectWeight(x, dy *reader) *directWeight {
	d := &directWeight{prepared: k, x: x, dy: dy, products: make([]vector.Product, k.pool.threads)}
	d.bordered, d.phase = k.forwardShape()
	d.terms = whole(d.phase.terms(x.activation))
	d.scratch = d.bordered.image() + dy.image() + directPixels*(d.terms+dy.padded()) + lanes
	return d
}

// width is the elements of a gradient [terms][K], in whole vectors.
func (d *directWeight) width() int { return d.terms * d.dy.padded() }

func (d *directWeight) work() int { return d.Groups * d.N * d.dy.h * d.dy.w * d.width() }

// gradient writes the gradient of images [from, to) of dy, of group g, to dw.
func (d *directWeight) gradient(worker, g, from, to int, dw []float32) {
	scratch := d.workspace(d.own+worker*d.scratch, d.scratch)
	cut := func(n int) (piece []float32) { piece, scratch = scratch[:n], scratch[n:]; return piece }
	x, dy, rows, right := cut(d.bordered.image()), cut(d.dy.image()), cut(directPixels*d.terms+lanes), cut(directPixels*d.dy.padded())
	clear(x)
	clear(rows)
	shape, outs := &d.products[worker], d.dy.padded()
	first := true
	for n := from; n < to; n++ {
		d.x.copyBordered(x, d.bordered, g, n)
		image := dy
		if d.dy.plain() {
			image = d.Real(d.dy.first)[n*d.dy.image():]
		}
		for block := 0; block < d.dy.blocks() && !d.dy.plain(); block++ {
			d.dy.rows(dy[block*d.dy.plane():], d.dy.row(), g, n, block, 0, d.dy.h)
		}
		for pixel := 0; pixel < len(d.phase.at); pixel += directPixels {
			end := min(pixel+directPixels, len(d.phase.at))
			d.phase.gather(rows, x, d.bordered, d.terms, pixel, end)
			q := &image[pixel*lanes]
			if outs > lanes {
				d.interleave(right, image, pixel, end)
				q = &right[0]
			}
			*shape = vector.Product{Positions: 1, Rows: d.terms, Depth: end - pixel, Cols: outs, LeftRow: d.terms}
			d.v.Accumulate(shape, &rows[0], q, &dw[0], &rows[0], first)
			first = false
		}
	}
}

// interleave lays pixels [from, to) of dy in rows of all channels.
func (d *directWeight) interleave(dst, dy []float32, from, to int) {
	outs := d.dy.padded()
	for block := range d.dy.blocks() {
		for i, src := 0, dy[block*d.dy.plane():]; i < to-from; i++ {
			*(*[lanes]float32)(dst[i*outs+block*lanes:]) = [lanes]float32(src[(from+i)*lanes:])
		}
	}
}

// planDirectWeight plans ConvWeightGrad.
func (k *prepared) planDirectWeight(x, dy *reader, dw int) {
	d := k.newDirectWeight(x, dy)
	width := d.width()
	parts := k.reserve(k.Groups * k.imageBlocks() * width)
	d.own = k.reserve(k.pool.threads * d.scratch)
	k.add(k.Groups*k.imageBlocks(), d.work(), func(worker, unit int) {
		g, from, to := k.block(unit)
		d.gradient(worker, g, from, to, k.workspace(parts+unit*width, width))
	})
	k.addWeightTree(parts, width, x.depth(), dy.padded(), dw)
}

// addWeightTree adds the step that adds up the blocks' gradients, each of width elements, [R*R][depth][outs] in front, and lays the sum into argument dw, [K][C][R][R] per group.
func (k *prepared) addWeightTree(parts, width, depth, outs, dw int) {
	const run = 4 // channels of the input that a unit takes
	runs, taps, nb := ceil(k.C, run), k.R*k.R, k.imageBlocks()
	k.add(k.Groups*runs, (nb+4)*k.Groups*width, func(_, unit int) {
		g, from := unit/runs, unit%runs*run
		to := min(from+run, k.C)
		all := k.workspace(parts+g*nb*width, nb*width)
		for tap := range taps {
			k.tree(all, width, 0, nb, (tap*depth+from)*outs, (tap*depth+to)*outs)
		}
		out := k.Part(dw, g)
		for o := range k.K {
			for c := from; c < to; c++ {
				w := out[(o*k.C+c)*taps:][:taps]
				for tap := range w {
					w[tap] = all[(tap*depth+c)*outs+o]
				}
			}
		}
	})
}
