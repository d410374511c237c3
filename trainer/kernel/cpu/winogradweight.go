package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// winogradWeight is a weight gradient: the tiles of x and of dy, transformed, are multiplied at each position and added up over the tiles of a block of images; one transform of that sum is
// the block's gradient [9][C][K].
type winogradWeight struct {
	*prepared
	tiling
	x, dy    *reader
	bordered activation // copy of x
	tiled    activation // copy of dy in whole tiles
	own      int        // worker 0's scratch: copies of x and dy, their tiles, the sums
	scratch  int
	products []vector.Product
	looks    []lookahead
}

func (k *prepared) newWinogradWeight(x, dy *reader) *winogradWeight {
	w := &winogradWeight{prepared: k, tiling: newTiling(dy.activation), x: x, dy: dy, looks: make([]lookahead, k.pool.threads)}
	w.bordered = w.tiling.bordered(k.C)
	w.tiled = activation{k.K, w.tiling.h * tileSize, w.tiling.w * tileSize}
	c, o, most := x.padded(), dy.padded(), w.most()
	p := vector.Product{Positions: positions, Rows: c, Cols: o, LeftPosition: most*c + lanes, LeftRow: c, RightPosition: most*o + lanes, OutPosition: c*o + lanes}
	for range k.pool.threads {
		w.products = append(w.products, p)
	}
	w.scratch = w.together*(w.bordered.image()+w.tiled.image()) + positions*(p.LeftPosition+p.RightPosition+p.OutPosition)
	return w
}

// width is the elements of a gradient [9][C][K], channels in whole blocks.
func (w *winogradWeight) width() int { return w.R * w.R * w.x.padded() * w.dy.padded() }

func (w *winogradWeight) work() int {
	return w.Groups * w.N * w.dy.h * w.dy.w * w.x.padded() * w.dy.padded()
}

// gradient writes the gradient of images [from, to) of dy, of group g, to dw.
func (w *winogradWeight) gradient(worker, g, from, to int, dw []float32) {
	p := &w.products[worker]
	scratch := w.workspace(w.own+worker*w.scratch, w.scratch)
	cut := func(n int) (piece []float32) { piece, scratch = scratch[:n], scratch[n:]; return piece }
	x, dy := cut(w.together*w.bordered.image()), cut(w.together*w.tiled.image())
	v, q, s := cut(positions*p.LeftPosition), cut(positions*p.RightPosition), cut(positions*p.OutPosition)
	clear(x)
	clear(dy)
	first := true
	for n := from; n < to; n += w.together {
		images := min(w.together, to-n)
		for top := 0; top < w.tiling.h; top += w.bands {
			bottom := min(top+w.bands, w.tiling.h)
			w.gradTiles(dy, q, g, n, images, top, bottom)
			look := &w.looks[worker]
			w.next(look, w.x, n, images, bottom)
			w.next(look, w.dy, n, images, bottom)
			w.add(worker, look, x, v, q, s, g, n, images, top, bottom, first)
			first = false
		}
	}
	w.finish(s, dw)
}

// add adds the products of some tiles to s, given those of dy in q, looking ahead meanwhile; x and v are scratch for those of x.
func (w *winogradWeight) add(worker int, look *lookahead, x, v, q, s []float32, g, n, images, top, bottom int, first bool) {
	p := &w.products[worker]
	fill(x, w.x, w.bordered, w.tiling, g, n, images, top, bottom)
	transform(w.v.InputTiles, x, w.bordered, w.tiling, images, top, bottom, v, p.LeftPosition)
	p.Depth = images * (bottom - top) * w.tiling.w
	w.v.Accumulate(p, &v[0], &q[0], &s[0], look.spread(p, w.lines(max(w.x.blocks(), w.dy.blocks()))), first)
}

// finish transforms the sum over a block's tiles to its gradient.
func (w *winogradWeight) finish(s, dw []float32) {
	pairs := w.x.padded() * w.dy.padded()
	w.v.WeightGradTiles(&s[0], w.products[0].OutPosition, &dw[0], pairs, pairs/lanes)
}

// gradTiles takes the tiles of dy to q: from where they lie, or by way of the copy dst.
func (w *winogradWeight) gradTiles(dst, q []float32, g, n, images, top, bottom int) {
	position := w.products[0].RightPosition
	if w.dy.plain() && w.tiled.h == w.dy.h && w.tiled.w == w.dy.w {
		transform(w.v.GradTiles, w.Real(w.dy.first)[n*w.dy.image():], w.dy.activation, w.tiling, images, top, bottom, q, position)
		return
	}
	for i := range images {
		for block := range w.dy.blocks() {
			w.dy.rows(dst[i*w.tiled.image()+block*w.tiled.plane()+top*tileSize*w.tiled.row():], w.tiled.row(), g, n+i, block, top*tileSize, min(bottom*tileSize, w.dy.h))
		}
	}
	transform(w.v.GradTiles, dst, w.tiled, w.tiling, images, top, bottom, q, position)
}

// planWinogradWeight plans ConvWeightGrad.
func (k *prepared) planWinogradWeight(x, dy *reader, dw int) {
	w := k.newWinogradWeight(x, dy)
	w.own = k.reserve(k.pool.threads * w.scratch)
	k.addWeightGradient(w.work(), w.width(), x.padded(), dy.padded(), dw, w.gradient)
}
