package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// winogradSquares is ConvSquares by Winograd's filtering. The tiles of an image of x are transformed once and serve all functions of the image; the sums over the tiles, of 16 by 16
// channels at a time, are transformed and squared while they are in the nearest caches: no gradient is ever there as a whole.
type winogradSquares struct {
	*prepared
	tiling
	x, dy    *reader
	bordered activation // copy of an image of x
	tiled    int        // place in the workspace of the transformed images of x: [images][36][tiles][C]
	own      int        // worker 0's scratch: the copy of x, then a row of tiles of dy, its tiles, the sums, a piece of the gradient, accumulators
	scratch  int
	products []vector.Product
	looks    []lookahead
}

// planWinogradSquares plans ConvSquares; x's images are those before they are repeated.
func (k *prepared) planWinogradSquares(x, dy *reader, q int) {
	w := &winogradSquares{prepared: k, tiling: newTiling(dy.activation), x: x, dy: dy}
	w.bands, w.together = w.tiling.h, 1
	w.bordered = w.tiling.bordered(k.C)
	c, tiles := x.padded(), w.most()
	p := vector.Product{Positions: positions, Rows: lanes, Depth: tiles, Cols: lanes, LeftPosition: tiles*c + lanes, LeftRow: c, RightPosition: tiles*lanes + lanes, OutPosition: lanes*lanes + lanes}
	for range k.pool.threads {
		w.products = append(w.products, p)
	}
	images := k.Groups * k.N / k.Repeats()
	w.looks = make([]lookahead, k.pool.threads)
	w.tiled = k.reserve(images * positions * p.LeftPosition)
	w.scratch = max(w.bordered.image(), w.band()+positions*(p.RightPosition+p.OutPosition)+k.R*k.R*lanes*lanes+9*lanes)
	w.own = k.reserve(k.pool.threads * w.scratch)
	k.add(images, images*k.H*k.W*c, w.transformImage)
	k.addSquares(q, dy.h*dy.w*c*dy.padded(), w.squares)
}

// band is the elements of a row of tiles of a block of dy.
func (w *winogradSquares) band() int { return tileSize * tileSize * w.tiling.w * lanes }

func (w *winogradSquares) tilesOf(image int) []float32 {
	size := positions * w.products[0].LeftPosition
	return w.workspace(w.tiled+image*size, size)
}

// transformImage takes the tiles of an image of x to the workspace.
func (w *winogradSquares) transformImage(worker, image int) {
	x := w.workspace(w.own+worker*w.scratch, w.bordered.image())
	clear(x)
	fill(x, w.x, w.bordered, w.tiling, image/(w.N/w.Repeats()), image, 1, 0, w.tiling.h)
	transform(w.v.InputTiles, x, w.bordered, w.tiling, 1, 0, w.tiling.h, w.tilesOf(image), w.products[0].LeftPosition)
}

// squares is the sum of the squares of the gradient of image n of dy.
func (w *winogradSquares) squares(worker, g, n int) float32 {
	p := &w.products[worker]
	scratch := w.workspace(w.own+worker*w.scratch, w.scratch)
	cut := func(n int) (piece []float32) { piece, scratch = scratch[:n], scratch[n:]; return piece }
	band, q, s := cut(w.band()), cut(positions*p.RightPosition), cut(positions*p.OutPosition)
	dw, acc := cut(w.R*w.R*lanes*lanes), cut(9*lanes)
	clear(band)
	clear(acc)
	v, all, look := w.tilesOf(n/w.Repeats()), w.Real(w.dy.first), &w.looks[worker]
	for block := range w.dy.blocks() {
		w.gradTiles(band, q, g, n, block)
		look.add(all, n*w.dy.image()+(block+1)*w.dy.plane())
		for c := 0; c < w.x.padded(); c += lanes {
			w.v.Accumulate(p, &v[c], &q[0], &s[0], look.spread(p, w.dy.h*w.dy.w), true)
			w.v.WeightGradTiles(&s[0], p.OutPosition, &dw[0], lanes*lanes, lanes)
			w.v.Sums(&dw[0], &acc[8*lanes], &acc[0], len(dw)/lanes)
		}
	}
	w.total(acc[:8*lanes])
	return byHalves(acc[4*lanes : 5*lanes])
}

// gradTiles takes the tiles of a block of dy to q: from where they lie, or by way of band.
func (w *winogradSquares) gradTiles(band, q []float32, g, n, block int) {
	position := w.products[0].RightPosition
	inside := w.dy.plain() && w.dy.w%tileSize == 0
	wide := w.tiling.w * tileSize * lanes
	for row := range w.tiling.h {
		from, to := row*tileSize, min((row+1)*tileSize, w.dy.h)
		source := &band[0]
		if inside && to-from == tileSize {
			source = w.dy.at(w.dy.first, n, block, from)
		} else {
			w.dy.rows(band, wide, g, n, block, from, to)
			clear(band[(to-from)*wide:])
		}
		w.v.GradTiles(source, wide, &q[row*w.tiling.w*lanes], position, lanes, w.tiling.w)
	}
}
