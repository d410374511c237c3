package cpu

// weightGrad is a weight gradient: dy as rows (a strip of output channels) times the input's taps as columns (2 of them), the terms being an image's
// pixels. A part is dw in tiles, [K/rows][taps/2][2][rows]. A worker's scratch is the bordered image, dy's row panels and tileMany column panels.
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
	w.scratch = whole(w.source.size()) + w.strips()*k.tile.rowPanel(pixels) + tileMany*colPanel(pixels)
	return w
}

func (w *weightGrad) strips() int { return ceil(w.K, w.tile.rows) }
func (w *weightGrad) pairs() int  { return ceil(len(w.taps), tileCols) }
func (w *weightGrad) width() int  { return w.strips() * w.pairs() * w.tile.chains() }
func (w *weightGrad) macs() int   { return w.Groups * w.N * len(w.at) * w.K * len(w.taps) }

// addImage goes on with the chains of part through the pixels of image n.
func (w *weightGrad) addImage(scratch, part []float32, n int) {
	pixels, image := len(w.at), w.C*w.H*w.W
	bordered := scratch[:w.source.size()]
	rest := scratch[whole(w.source.size()):]
	size, one, rowsOf := w.tile.rowPanel(pixels), colPanel(pixels), w.tile.rows
	rows, cols := rest[:w.strips()*size], rest[w.strips()*size:][:tileMany*one]
	w.border(bordered, w.Real(0)[n*image:(n+1)*image])
	dy := w.Real(1)[n*w.K*pixels : (n+1)*w.K*pixels]
	for strip := range w.strips() {
		packRows(rows[strip*size:(strip+1)*size], dy[strip*rowsOf*pixels:], pixels, rowsOf, min(rowsOf, w.K-strip*rowsOf))
	}
	for pair := 0; pair < w.pairs(); {
		together, tile := tileMany, w.tile.many
		if w.pairs()-pair < tileMany {
			together, tile = 1, w.tile.one
		}
		for i := range together {
			a := (pair + i) * tileCols
			w.packTaps(cols[i*one:][:one], bordered, w.taps[a], w.taps[min(a+1, len(w.taps)-1)])
		}
		for strip := range w.strips() {
			tile(&rows[strip*size], &cols[0], one, depth(pixels), &part[(strip*w.pairs()+pair)*w.tile.chains()])
		}
		pair += together
	}
}

// packRows lays planes of dy, at most as many as a panel has rows, into a row panel.
func packRows(panel, dy []float32, pixels, rows, planes int) {
	if rows != genericRows || planes < rows {
		clear(panel)
		for row := range planes {
			for p, v := range dy[row*pixels : (row+1)*pixels] {
				panel[p*rows+row] = v
			}
		}
		return
	}
	d0, d1, d2, d3 := dy[:pixels], dy[pixels:][:pixels], dy[2*pixels:][:pixels], dy[3*pixels:][:pixels]
	for p := range d0 {
		four := (*[genericRows]float32)(panel)
		four[0], four[1], four[2], four[3] = d0[p], d1[p], d2[p], d3[p]
		panel = panel[genericRows:]
	}
	clear(panel)
}

// untile puts the elements of a part from place from on where they belong in dw [K][taps].
func (w *weightGrad) untile(dw, elements []float32, from int) {
	taps, pairs, rows := len(w.taps), w.pairs(), w.tile.rows
	for i, v := range elements {
		i += from
		t, in := i/w.tile.chains(), i%w.tile.chains()
		output, tap := t/pairs*rows+in%rows, t%pairs*tileCols+in/rows
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
