package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// A 3x3 convolution of stride 1 goes through Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): an output tile of 4x4 pixels takes 36 products a pair of
// channels instead of 144. In a pass over a block of images, some tiles at a time: their pixels are filled into a bordered copy, transformed (36 positions x tiles x channels), multiplied
// by the transformed weights at each position, and transformed back. What the pieces hold stays in the second-level cache.

const (
	tileSize  = 4 // pixels of an output tile, a side
	positions = (tileSize + 2) * (tileSize + 2)
	tileGoal  = 16 // tiles at a time
)

// winogradFits says whether an op is computed so: a function of its shapes alone, and part of the arithmetic.
func (k *prepared) winogradFits() bool { return k.R == 3 && k.Stride == 1 && k.C >= 8 && k.K >= 8 }

// tiling is how the tiles of a plane are taken together: rows of tiles of one image, or several whole images.
type tiling struct {
	h, w     int // rows and columns of tiles
	bands    int // rows of tiles taken together
	together int // images taken together
}

func newTiling(a activation) tiling {
	t := tiling{h: ceil(a.h, tileSize), w: ceil(a.w, tileSize)}
	t.bands = min(t.h, max(1, tileGoal/t.w))
	t.together = 1
	if t.bands == t.h {
		t.together = min(blockImages, max(1, tileGoal/(t.h*t.w)))
	}
	return t
}

// most is the tiles taken together, at most.
func (t tiling) most() int { return t.together * t.bands * t.w }

// bordered is the geometry of the source's copy: whole tiles, with a border of one pixel of zeros on each side.
func (t tiling) bordered(channels int) activation {
	return activation{channels, t.h*tileSize + 2, t.w*tileSize + 2}
}

// lines is the cache lines that the largest piece of a source of so many blocks has.
func (t tiling) lines(blocks int) int { return t.most() * tileSize * tileSize * blocks }

// next lets l look ahead at what r reads for the tiles after those of n's images above bottom.
func (t tiling) next(l *lookahead, r *reader, n, images, bottom int) {
	if bottom < t.h {
		r.ahead(l, n, t.rowsUpTo(bottom, r.h))
	} else {
		r.ahead(l, n+images, 0)
	}
}

// rowsFrom is the first of the source's rows that the tiles from band on need, and those above don't.
func (t tiling) rowsFrom(band, h int) int {
	if band == 0 {
		return 0
	}
	return t.rowsUpTo(band, h)
}

// rowsUpTo is the source's rows that the tiles above band need.
func (t tiling) rowsUpTo(band, h int) int { return min(band*tileSize+1, h) }

// eight rounds rows of a product up to what vector.Multiply takes.
func eight(n int) int { return ceil(n, 8) * 8 }

// winograd is a forward pass or a data gradient.
type winograd struct {
	*prepared
	tiling
	source   *reader
	out      *writer
	weights  int // place in the workspace of the transformed weights [36][source][out]
	bordered activation
	own      int // worker 0's scratch: bordered images, tiles going in and coming out, a row of tiles; of the weight gradient, bordered images of x and sums
	scratch  int
	inputs   int // elements of the tiles going in
	outputs  int
	products []vector.Product // of each worker
	looks    []lookahead      // of each worker
	weight   *winogradWeight  // the weight gradient of the same dy, made in the same sweep; nil: none
	parts    int              // place in the workspace of the blocks' weight gradients
}

// planWinograd plans a pass; forward: from x to y, else from dy to dx. weight is nil, or the weight gradient that is made beside it, for argument dw.
func (k *prepared) planWinograd(source *reader, out *writer, w int, weight *winogradWeight, dw int) {
	c := &winograd{prepared: k, tiling: newTiling(out.activation), source: source, out: out, weight: weight}
	c.bordered = c.tiling.bordered(source.channels)
	in, outs, rows := source.padded(), out.padded(), eight(c.most())
	c.weights = k.reserve(positions * in * outs)
	k.addWinogradWeights(c.weights, in, outs, w)
	p := vector.Product{Positions: positions, Rows: rows, Depth: in, Cols: outs, LeftPosition: rows*in + lanes, LeftRow: in, RightPosition: in * outs, OutPosition: rows*outs + lanes}
	p.WriteLines = ceil(c.lines(out.activation.blocks()), positions)
	for range k.pool.threads {
		c.products = append(c.products, p)
	}
	c.looks = make([]lookahead, k.pool.threads)
	c.inputs, c.outputs = positions*p.LeftPosition, positions*p.OutPosition
	work := k.Groups * k.N * out.h * out.w * in * outs
	c.scratch = tileSize * tileSize * c.tiling.w * lanes
	if weight != nil {
		q := weight.products[0]
		c.inputs, c.outputs = positions*max(p.LeftPosition, q.LeftPosition), positions*max(p.OutPosition, q.RightPosition)
		c.scratch += weight.together*weight.bordered.image() + positions*q.OutPosition
		c.parts = k.reserve(k.Groups * k.imageBlocks() * weight.width())
		work *= 2
	}
	c.scratch += c.together*c.bordered.image() + c.inputs + c.outputs
	c.own = k.reserve(k.pool.threads * c.scratch)
	k.add(k.Groups*k.imageBlocks(), work, c.block)
	out.finish()
	if weight != nil {
		k.addWeightTree(c.parts, weight.width(), weight.x.padded(), weight.dy.padded(), dw)
	}
}

// addWinogradWeights transforms argument w [K][C][3][3] into [36][in][out]; in a data gradient in is K, and the filters are read backwards.
func (k *prepared) addWinogradWeights(place, in, outs, w int) {
	position, taps := in*outs, k.R*k.R
	backwards := !k.forward()
	depth, width := k.C, k.K // the filters along in and out that are there
	lane, step := k.C*taps, taps
	if backwards {
		depth, width = k.K, k.C
		lane, step = step, lane
	}
	const run = 16 // filters along in that a unit takes
	runs := ceil(in, run)
	k.add(runs*outs/lanes, 4*in*outs, func(_, unit int) {
		block, from := unit/runs*lanes, unit%runs*run
		to := min(from+run, depth)
		u := k.workspace(place, positions*position)
		if to > from {
			k.v.WeightTiles(&k.Real(w)[block*lane+from*step], lane, min(lanes, width-block), backwards, step, &u[from*outs+block], position, outs, to-from)
		}
		for i := max(to, from); i < min(from+run, in); i++ {
			for p := range positions {
				clear(u[p*position+i*outs+block:][:lanes])
			}
		}
	})
}

// pieces are a worker's scratch.
type pieces struct{ source, v, m, edge, x, s []float32 }

func (c *winograd) pieces(worker int) (p pieces) {
	scratch := c.workspace(c.own+worker*c.scratch, c.scratch)
	cut := func(n int) (piece []float32) { piece, scratch = scratch[:n:n], scratch[n:]; return piece }
	p.source, p.v, p.m, p.edge = cut(c.together*c.bordered.image()), cut(c.inputs), cut(c.outputs), cut(tileSize*tileSize*c.tiling.w*lanes)
	if w := c.weight; w != nil {
		p.x, p.s = cut(w.together*w.bordered.image()), scratch
	}
	return p
}

// block computes a block of images.
func (c *winograd) block(worker, unit int) {
	g, from, to := c.prepared.block(unit)
	p := c.pieces(worker)
	clear(p.source)
	clear(p.x)
	c.out.begin(unit)
	first := true
	for n := from; n < to; n += c.together {
		images := min(c.together, to-n)
		for top := 0; top < c.tiling.h; top += c.bands {
			bottom := min(top+c.bands, c.tiling.h)
			c.tiles(worker, unit, &p, g, n, images, top, bottom)
			if c.weight != nil {
				transform(c.v.GradTiles, p.source[c.bordered.row()+lanes:], c.bordered, c.tiling, images, top, bottom, p.m, c.weight.products[worker].RightPosition)
				c.next(&c.looks[worker], c.source, n, images, bottom)
				c.weight.add(worker, &c.looks[worker], p.x, p.v, p.m, p.s, g, n, images, top, bottom, first)
				first = false
			}
		}
	}
	if w := c.weight; w != nil {
		w.finish(p.s, c.workspace(c.parts+unit*w.width(), w.width()))
	}
}

// tiles computes the rows [top, bottom) of tiles of some images.
func (c *winograd) tiles(worker, unit int, s *pieces, g, n, images, top, bottom int) {
	p := &c.products[worker]
	p.Rows = eight(images * (bottom - top) * c.tiling.w)
	fill(s.source, c.source, c.bordered, c.tiling, g, n, images, top, bottom)
	transform(c.v.InputTiles, s.source, c.bordered, c.tiling, images, top, bottom, s.v, p.LeftPosition)
	look := &c.looks[worker]
	c.out.ahead(look, n, top*tileSize)
	if c.weight == nil {
		c.next(look, c.source, n, images, bottom)
	} else {
		c.weight.x.ahead(look, n, c.tiling.rowsFrom(top, c.source.h))
	}
	c.v.Multiply(p, &s.v[0], &c.workspace(c.weights, positions*p.RightPosition)[0], &s.m[0], look.spread(p, c.lines(max(c.source.blocks(), c.out.activation.blocks()))), &c.out.row(n, 0, top*tileSize)[0])
	c.store(worker, unit, s.edge, s.m, g, n, images, top, bottom)
}

// fill puts the rows that the tiles [top, bottom) need, and that those above did not, into the bordered copies of the images.
func fill(dst []float32, r *reader, bordered activation, t tiling, g, n, images, top, bottom int) {
	from, to := t.rowsFrom(top, r.h), t.rowsUpTo(bottom, r.h)
	for i := range images {
		for block := range r.blocks() {
			at := i*bordered.image() + block*bordered.plane() + (from+1)*bordered.row() + lanes
			if to > from {
				r.rows(dst[at:], bordered.row(), g, n+i, block, from, to)
			}
		}
	}
}

// transform takes the tiles of the images' copies to v [36][tiles][channels].
func transform(tiles func(x *float32, row int, v *float32, position, tile, n int), src []float32, a activation, t tiling, images, top, bottom int, v []float32, position int) {
	index := 0
	for i := range images {
		for row := top; row < bottom; row++ {
			for block := range a.blocks() {
				tiles(&src[i*a.image()+block*a.plane()+row*tileSize*a.row()], a.row(), &v[index*a.padded()+block*lanes], position, a.padded(), t.w)
			}
			index += t.w
		}
	}
}

// store takes the tiles' results back to pixels. Where tiles go beyond the image's edge, by way of edge [4][columns][lanes].
func (c *winograd) store(worker, unit int, edge, m []float32, g, n, images, top, bottom int) {
	out, position := c.out, c.products[worker].OutPosition
	inside := out.h%tileSize == 0 && out.w%tileSize == 0
	wide := c.tiling.w * tileSize * lanes
	for i := range images {
		for block := range out.activation.blocks() {
			for row := top; row < bottom; row++ {
				from := &m[((i*(bottom-top)+row-top)*c.tiling.w)*out.padded()+block*lanes]
				y := out.row(n+i, block, row*tileSize)
				if inside {
					c.v.OutputTiles(from, position, out.padded(), &y[0], out.activation.row(), c.tiling.w)
					continue
				}
				c.v.OutputTiles(from, position, out.padded(), &edge[0], wide, c.tiling.w)
				for r := range min(tileSize, out.h-row*tileSize) {
					copy(y[r*out.activation.row():][:out.activation.row()], edge[r*wide:])
				}
			}
			out.rows(worker, g, n+i, block, top*tileSize, min(bottom*tileSize, out.h))
		}
		if bottom == c.tiling.h {
			out.end(worker, unit, n+i)
		}
	}
}
