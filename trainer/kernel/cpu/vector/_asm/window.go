package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in a Window.
const (
	windowPixels = 8 * iota
	windowPieces
	windowDepth
	windowCols
	windowBlock
	windowPiece
)

// window is what Convolve and ConvolveGrad share: for each block of columns, tiles of chains whose left factors are found by lists of places.
type window struct {
	row, block           Register // bytes of a row of the weights, and between blocks of columns of y
	cols                 Mem      // bytes of the columns left to do
	weights, y           Mem      // of this block of columns
	pixels, pieces, rows Mem      // left to do
	from, to, offsets    Mem      // the next of each list
	turns, rest          Mem      // of a piece: depth = turns * unroll + rest
}

func (w *window) field(offset int) Mem { return Mem{Base: param("p"), Disp: offset} }

func newWindow(weights string) *window {
	w := &window{row: GP64(), block: GP64()}
	for _, m := range []*Mem{&w.cols, &w.weights, &w.y, &w.pixels, &w.pieces, &w.rows, &w.from, &w.to, &w.offsets, &w.turns, &w.rest} {
		*m = local()
	}
	MOVQ(param(weights), w.weights)
	MOVQ(param("y"), w.y)
	MOVQ(w.field(windowCols), w.row)
	SHLQ(U8(2), w.row)
	MOVQ(w.row, w.cols)
	MOVQ(w.field(windowBlock), w.block)
	SHLQ(U8(2), w.block)
	return w
}

// vector is the j-th vector of columns at a pixel of y: one for each block, or two.
func (w *window) vector(pixel Register, j int) Mem {
	if !wide {
		return Mem{Base: pixel, Disp: size() * j}
	}
	if j == 0 {
		return Mem{Base: pixel}
	}
	return Mem{Base: pixel, Index: w.block, Scale: 1}
}

// eachStrip goes over blocks of so many vectors of columns while they fit.
func (w *window) eachStrip(vectors int, body func()) {
	columns, next := label("columns"), label("next")
	width := I32(vectors * size())
	Label(columns)
	CMPQ(w.cols, width)
	JLT(LabelRef(next))
	body()
	ADDQ(width, w.weights)
	ADDQ(w.block, w.y)
	if wide && vectors == 2 {
		ADDQ(w.block, w.y)
	}
	SUBQ(width, w.cols)
	JMP(LabelRef(columns))
	Label(next)
}

// listed is the place that a list holds next, i entries on, in bytes behind base.
func listed(list Register, i int, base Register) Register {
	r := GP64()
	MOVQ(Mem{Base: list, Disp: 8 * i}, r)
	LEAQ(Mem{Base: base, Index: r, Scale: 4}, r)
	return r
}

func convolve() {
	begin("convolve", "p *int, x *float32, from, offsets *int, u, y *float32, to *int", "is Convolve; p is the six numbers of a Window.")
	w := newWindow("u")
	depth := GP64()
	MOVQ(w.field(windowDepth), depth)
	rest := GP64()
	MOVQ(depth, rest)
	ANDQ(U8(unroll-1), rest)
	MOVQ(rest, w.rest)
	SHRQ(U8(2), depth)
	MOVQ(depth, w.turns)
	strips, rows := []int{2}, 4
	if wide {
		strips, rows = []int{2, 1}, 8
	}
	for _, vectors := range strips {
		w.eachStrip(vectors, func() {
			move(w.field(windowPixels), w.pixels)
			MOVQ(param("from"), w.from)
			MOVQ(param("to"), w.to)
			pixels, done := label("pixels"), label("done")
			Label(pixels)
			CMPQ(w.pixels, I8(0))
			JLE(LabelRef(done))
			w.convolveTile(tile{rows, vectors})
			ADDQ(I32(8*rows), w.from)
			ADDQ(I32(8*rows), w.to)
			SUBQ(I32(rows), w.pixels)
			JMP(LabelRef(pixels))
			Label(done)
		})
	}
	end()
}

// convolveTile is the chains of so many pixels, whose places have a register each.
func (w *window) convolveTile(t tile) {
	list, x := GP64(), param("x")
	MOVQ(w.from, list)
	places := make([]Register, t.rows)
	for r := range places {
		places[r] = listed(list, r, x)
	}
	sums := newSums(t)
	clearSums(sums)
	right := GP64()
	MOVQ(w.weights, right)
	MOVQ(param("offsets"), w.offsets)
	move(w.field(windowPieces), w.pieces)
	pieces, done := label("pieces"), label("done")
	Label(pieces)
	CMPQ(w.pieces, I8(0))
	JEQ(LabelRef(done))
	at := GP64()
	MOVQ(w.offsets, at)
	MOVQ(Mem{Base: at}, at)
	SHLQ(U8(2), at)
	term := func(k int) {
		vectors := make([]VecVirtual, t.vectors)
		for j := range vectors {
			vectors[j] = load(Mem{Base: right, Disp: size() * j})
		}
		for r, place := range places {
			left := Mem{Base: place, Index: at, Scale: 1, Disp: 4 * k}
			if wide && t.vectors == 1 {
				VFMADD231PS_BCST(left, vectors[0], sums[r][0])
				continue
			}
			factor := vec()
			VBROADCASTSS(left, factor)
			for j, v := range vectors {
				VFMADD231PS(v, factor, sums[r][j])
			}
		}
		ADDQ(w.row, right)
	}
	turns := GP64()
	MOVQ(w.turns, turns)
	repeat(turns, func() {
		for k := range unroll {
			term(k)
		}
		advance(4*unroll, at)
	})
	rest := GP64()
	MOVQ(w.rest, rest)
	repeat(rest, func() {
		term(0)
		advance(4, at)
	})
	ADDQ(I8(8), w.offsets)
	DECQ(w.pieces)
	JMP(LabelRef(pieces))
	Label(done)
	out, y := GP64(), GP64()
	MOVQ(w.to, out)
	MOVQ(w.y, y)
	for r, row := range sums {
		pixel := listed(out, r, y)
		for j, s := range row {
			VMOVUPS(s, w.vector(pixel, j))
		}
	}
}

func convolveGrad() {
	begin("convolveGrad", "p *int, x *float32, from, offsets *int, y, dw *float32, to *int", "is ConvolveGrad; p is the six numbers of a Window.")
	w := newWindow("dw")
	strips := []strip{{2, []int{6, 4, 2, 1}}}
	if wide {
		strips = []strip{{2, []int{12, 8, 4, 2, 1}}, {1, []int{16, 12, 9, 8, 4, 2, 1}}}
	}
	for _, s := range strips {
		w.eachStrip(s.vectors, func() { w.eachPiece(s) })
	}
	end()
}

// eachPiece covers the rows of each piece with tiles of a strip.
func (w *window) eachPiece(s strip) {
	move(w.field(windowPieces), w.pieces)
	MOVQ(param("offsets"), w.offsets)
	dw := GP64()
	MOVQ(w.weights, dw)
	pieces, done := label("pieces"), label("done")
	Label(pieces)
	CMPQ(w.pieces, I8(0))
	JEQ(LabelRef(done))
	list, out := GP64(), GP64()
	MOVQ(w.offsets, list)
	x := listed(list, 0, param("x"))
	MOVQ(dw, out)
	move(w.field(windowDepth), w.rows)
	for _, rows := range s.rows {
		below, lower := label("below"), label("lower")
		Label(below)
		CMPQ(w.rows, I32(rows))
		JLT(LabelRef(lower))
		w.convolveGradTile(tile{rows, s.vectors}, x, out)
		ADDQ(I32(4*rows), x)
		SUBQ(I32(rows), w.rows)
		JMP(LabelRef(below))
		Label(lower)
	}
	piece := GP64()
	MOVQ(w.field(windowPiece), piece)
	LEAQ(Mem{Base: dw, Index: piece, Scale: 4}, dw)
	ADDQ(I8(8), w.offsets)
	DECQ(w.pieces)
	JMP(LabelRef(pieces))
	Label(done)
}

// convolveGradTile takes a tile of rows at x through all pixels; out goes on to the rows below.
func (w *window) convolveGradTile(t tile, x, out Register) {
	sums := newSums(t)
	row := GP64()
	MOVQ(out, row)
	for _, sum := range sums {
		for j, v := range sum {
			VMOVUPS(Mem{Base: row, Disp: size() * j}, v)
		}
		ADDQ(w.row, row)
	}
	from, to, y, pixels := param("from"), param("to"), GP64(), GP64()
	MOVQ(w.y, y)
	MOVQ(w.field(windowPixels), pixels)
	repeat(pixels, func() {
		left, pixel := listed(from, 0, x), listed(to, 0, y)
		advance(8, from, to)
		right := make([]VecVirtual, t.vectors)
		for j := range right {
			right[j] = load(w.vector(pixel, j))
		}
		for r, sum := range sums {
			at := Mem{Base: left, Disp: 4 * r}
			if wide && t.vectors == 1 {
				VFMADD231PS_BCST(at, right[0], sum[0])
				continue
			}
			factor := vec()
			VBROADCASTSS(at, factor)
			for j, v := range right {
				VFMADD231PS(v, factor, sum[j])
			}
		}
	})
	for _, sum := range sums {
		for j, s := range sum {
			VMOVUPS(s, Mem{Base: out, Disp: size() * j})
		}
		ADDQ(w.row, out)
	}
}
