package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// together is the pixels of a gradient whose rows of x and dy stay in the nearest cache while every tile of chains meets them.
const together = 128

// directWeight is a weight gradient: one chain over the pixels of a block of images, of terms of x, as in direct, times dy.
type directWeight struct {
	*prepared
	x, dy    *reader
	bordered bordered // x's copy
	phase    phase
	depth    int // rows of the gradient that a tap has
	own      int // worker 0's scratch: copies of x and dy, a row of x
	scratch  int
	windows  []vector.Window
}

func (k *prepared) newDirectWeight(x, dy *reader) *directWeight {
	d := &directWeight{prepared: k, x: x, dy: dy, depth: x.depth(), windows: make([]vector.Window, k.pool.threads)}
	d.bordered, d.phase = k.weightShape(d.depth)
	d.scratch = whole(d.bordered.size()) + x.row()
	if !dy.plain() {
		d.scratch += dy.image()
	}
	return d
}

// width is the elements of a gradient [R*R][depth][K], K in whole blocks.
func (d *directWeight) width() int { return d.R * d.R * d.depth * d.dy.padded() }

func (d *directWeight) work() int { return d.Groups * d.N * d.dy.h * d.dy.w * d.width() }

// gradient writes the gradient of images [from, to) of dy, of group g, to dw.
func (d *directWeight) gradient(worker, g, from, to int, dw []float32) {
	scratch := d.workspace(d.own+worker*d.scratch, d.scratch)
	x, rest := scratch[:d.bordered.size()], scratch[whole(d.bordered.size()):]
	row, dy := rest[:d.x.row()], rest[d.x.row():]
	clear(x)
	clear(dw)
	p, window := &d.phase, &d.windows[worker]
	*window = vector.Window{Pieces: len(p.offsets), Depth: p.depth, Cols: d.dy.padded(), Block: d.dy.plane(), Piece: len(dw) / len(p.offsets)}
	for n := from; n < to; n++ {
		d.x.copyBordered(x, row, d.bordered, g, n)
		image := dy
		if d.dy.plain() {
			image = d.Real(d.dy.first)[n*d.dy.image():]
		} else {
			for block := range d.dy.blocks() {
				d.dy.rows(dy[block*d.dy.plane():], d.dy.row(), g, n, block, 0, d.dy.h)
			}
		}
		for pixel := 0; pixel < p.pixels; pixel += together {
			window.Pixels = min(together, p.pixels-pixel)
			d.v.ConvolveGrad(window, &x[0], &p.at[pixel], &p.offsets[0], &image[0], &dw[0], &p.to[pixel])
		}
	}
}

// planDirectWeight plans ConvWeightGrad.
func (k *prepared) planDirectWeight(x, dy *reader, dw int) {
	d := k.newDirectWeight(x, dy)
	d.own = k.reserve(k.pool.threads * d.scratch)
	k.addWeightGradient(d.work(), d.width(), x.depth(), dy.padded(), dw, d.gradient)
}

// addWeightGradient adds the steps of ConvWeightGrad: gradient, of width elements, of each block of images, and their tree (see addWeightTree).
func (k *prepared) addWeightGradient(work, width, depth, outs, dw int, gradient func(worker, g, from, to int, dw []float32)) {
	parts := k.reserve(k.Groups * k.imageBlocks() * width)
	k.add(k.Groups*k.imageBlocks(), work, func(worker, unit int) {
		g, from, to := k.block(unit)
		gradient(worker, g, from, to, k.workspace(parts+unit*width, width))
	})
	k.addWeightTree(parts, width, depth, outs, dw)
}

// addWeightTree adds the step that adds up the blocks' gradients, each of width elements, [R*R][depth][outs] in front, and lays the sum into argument dw, [K][C][R][R] per group.
func (k *prepared) addWeightTree(parts, width, depth, outs, dw int) {
	const run = lanes // channels of the input that a unit takes
	runs, taps, nb := ceil(k.C, run), k.R*k.R, k.imageBlocks()
	var sources []int // of a run's elements of a filter
	for i := range run * taps {
		sources = append(sources, (i%taps*depth+i/taps)*outs)
	}
	filters := multiples(k.K, k.C*taps)
	k.add(k.Groups*runs, nb*k.Groups*width/8, func(_, unit int) {
		g, from := unit/runs, unit%runs*run
		to := min(from+run, k.C)
		all := k.workspace(parts+g*nb*width, nb*width)
		for tap := range taps {
			k.tree(all, width, 0, nb, (tap*depth+from)*outs, (tap*depth+to)*outs)
		}
		k.v.Transpose(&k.Part(dw, g)[from*taps], &filters[0], &all[from*outs], &sources[0], (to-from)*taps, k.K)
	})
}
