package cpu

// weightGrad is a weight gradient: dy as rows (4 output channels) times the input's taps as columns (2 of them), the terms being an image's pixels.
// A part is dw in tiles, [K/4][taps/2][4][2]. A worker's scratch is the bordered image, dy's row panels and one column panel.
type weightGrad struct {
	*prepared
	source
	phase
	taps    []int // places in the bordered image
	scratch int
}

func newWeightGrad(k *prepared) *weightGrad {
	w := &weightGrad{prepared: k}
	w.source, w.phase = k.forwardShape()
	for ch := range k.C {
		for _, offset := range w.offsets {
			w.taps = append(w.taps, ch*w.source.plane()+offset)
		}
	}
	pixels := len(w.at)
	w.scratch = whole(w.source.size()) + w.quads()*rowPanel(pixels) + colPanel(pixels)
	return w
}

func (w *weightGrad) quads() int { return ceil(w.K, tileRows) }
func (w *weightGrad) pairs() int { return ceil(len(w.taps), tileCols) }
func (w *weightGrad) width() int { return w.quads() * w.pairs() * tileSize }
func (w *weightGrad) macs() int  { return w.Groups * w.N * len(w.at) * w.K * len(w.taps) }

// addImage goes on with the chains of part through the pixels of image n.
func (w *weightGrad) addImage(scratch, part []float32, n int) {
	pixels, image := len(w.at), w.C*w.H*w.W
	bordered := scratch[:w.source.size()]
	rest := scratch[whole(w.source.size()):]
	size := rowPanel(pixels)
	rows, cols := rest[:w.quads()*size], rest[w.quads()*size:][:colPanel(pixels)]
	w.border(bordered, w.Real(0)[n*image:(n+1)*image])
	dy := w.Real(1)[n*w.K*pixels : (n+1)*w.K*pixels]
	for quad := range w.quads() {
		packRows(rows[quad*size:(quad+1)*size], dy[quad*tileRows*pixels:], pixels, min(tileRows, w.K-quad*tileRows))
	}
	for pair := range w.pairs() {
		w.packTaps(cols, bordered, w.taps[pair*tileCols], w.taps[min(pair*tileCols+1, len(w.taps)-1)])
		for quad := range w.quads() {
			tile(rows[quad*size:(quad+1)*size], cols, (*[tileSize]float32)(part[(quad*w.pairs()+pair)*tileSize:]))
		}
	}
}

// packRows lays up to 4 planes of dy into a row panel.
func packRows(panel, dy []float32, pixels, rows int) {
	if rows < tileRows {
		clear(panel)
		for row := range rows {
			for p, v := range dy[row*pixels : (row+1)*pixels] {
				panel[p*tileRows+row] = v
			}
		}
		return
	}
	d0, d1, d2, d3 := dy[:pixels], dy[pixels:][:pixels], dy[2*pixels:][:pixels], dy[3*pixels:][:pixels]
	for p := range d0 {
		quad := (*[tileRows]float32)(panel)
		quad[0], quad[1], quad[2], quad[3] = d0[p], d1[p], d2[p], d3[p]
		panel = panel[tileRows:]
	}
	clear(panel)
}

// untile puts the elements of a part from place from on where they belong in dw [K][taps].
func (w *weightGrad) untile(dw, elements []float32, from int) {
	taps, pairs := len(w.taps), w.pairs()
	for i, v := range elements {
		i += from
		t, in := i/tileSize, i%tileSize
		output, tap := t/pairs*tileRows+in/tileCols, t%pairs*tileCols+in%tileCols
		if output < w.K && tap < taps {
			dw[output*taps+tap] = v
		}
	}
}

func planConvWeightGrad(k *prepared) {
	w := newWeightGrad(k)
	width, units := w.width(), k.Groups*k.blocks()
	own := whole(units * width)
	k.Scratch = own + k.pool.threads*w.scratch
	k.add(units, w.macs(), func(worker, unit int) {
		_, from, to := k.block(unit)
		part := k.workspace(unit*width, width)
		clear(part)
		for n := from; n < to; n++ {
			w.addImage(k.workspace(own+worker*w.scratch, w.scratch), part, n)
		}
	})
	k.addTree(width, func(g, from, _ int, sum []float32) { w.untile(k.Part(2, g), sum, from) })
}

func planConvSquares(k *prepared) {
	w := newWeightGrad(k)
	width, weights := w.width(), k.K*len(w.taps)
	each := w.scratch + width + whole(weights)
	k.Scratch = k.pool.threads * each
	k.add(k.Groups*k.N, w.macs(), func(worker, n int) {
		scratch := k.workspace(worker*each, each)
		part, dw := scratch[w.scratch:][:width], scratch[w.scratch+width:][:weights]
		clear(part)
		w.addImage(scratch[:w.scratch], part, n)
		w.untile(dw, part, 0)
		var l lanes
		l.addSquares(dw, 0)
		k.Real(2)[n] += l.total()
	})
}
