package main

import (
	"github.com/mmcloughlin/avo/ir"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in a Product.
const (
	fieldPositions = 8 * iota
	fieldRows
	fieldDepth
	fieldCols
	fieldLeftPosition
	fieldLeftRow
	fieldRightPosition
	fieldOutPosition
	fieldReadLines
	fieldWriteLines
)

const unroll = 4 // terms of one turn

// tile is the chains that are in registers at a time: rows of so many vectors.
type tile struct{ rows, vectors int }

// strip is columns of a result: tiles of so many vectors below each other, of the first of these heights while it fits, then the next.
type strip struct {
	vectors int
	rows    []int
}

// product is what Multiply and Accumulate share: for each position, for each block of columns, for each block of rows, a tile goes through all terms.
type product struct {
	left, right, out Register // the next term's factors, and the results of the tile's next row
	leftRow          stride   // the left factor's rows, up to four
	rightRow         Register // bytes of a row of the right factor and of the result
	streams          []stream

	leftPosition, rightPosition, outPosition Mem // this position's
	leftTile, rightTile                      Mem // the tile's first factors
	outColumn                                Mem // this block of columns' first result
	rows, cols, positions                    Mem // left to do; cols in bytes
	turns, rest                              Mem // of a chain: depth = turns * unroll + rest
}

// stream is memory that is fetched ahead of time.
type stream struct {
	next, end Register
	lines     int // offset in a Product
	table     Mem // where this position's pointer stands; not where the stream goes on from position to position
	tabled    bool
	fetch     func()
}

func (p *product) field(offset int) Mem {
	return Mem{Base: param("p"), Disp: offset}
}

func local() Mem { return AllocLocal(8) }

func move(from, to Op) {
	r := GP64()
	MOVQ(from, r)
	MOVQ(r, to)
}

// newProduct loads what holds for all positions; left, right and out are the parameters' names.
func newProduct(left, right, out string) *product {
	p := &product{
		leftPosition: local(), rightPosition: local(), outPosition: local(), leftTile: local(), rightTile: local(), outColumn: local(),
		rows: local(), cols: local(), positions: local(), turns: local(), rest: local(),
		left: GP64(), right: GP64(), out: GP64(), rightRow: GP64(),
	}
	MOVQ(param(left), p.leftPosition)
	MOVQ(param(right), p.rightPosition)
	MOVQ(param(out), p.outPosition)
	move(p.field(fieldPositions), p.positions)
	leftRow := GP64()
	MOVQ(p.field(fieldLeftRow), leftRow)
	SHLQ(U8(2), leftRow)
	p.leftRow = strides(leftRow, 4)
	MOVQ(p.field(fieldCols), p.rightRow)
	SHLQ(U8(2), p.rightRow)
	depth := GP64()
	MOVQ(p.field(fieldDepth), depth)
	rest := GP64()
	MOVQ(depth, rest)
	ANDQ(U8(unroll-1), rest)
	MOVQ(rest, p.rest)
	SHRQ(U8(2), depth)
	MOVQ(depth, p.turns)
	return p
}

// reads and writes name the parameters that say what to fetch.
func (p *product) reads(name string) {
	next, table := GP64(), local()
	move(param(name), table)
	XORQ(next, next)
	p.streams = append(p.streams, stream{next: next, end: GP64(), lines: fieldReadLines, table: table, tabled: true, fetch: func() { PREFETCHT1(Mem{Base: next}) }})
}

func (p *product) writes(name string) {
	next := Load(Param(name), RDI)
	p.streams = append(p.streams, stream{next: next, end: GP64(), lines: fieldWriteLines, fetch: prefetchwDI})
}

// prefetchwDI is PREFETCHW (DI), which Go's assembler does not know.
func prefetchwDI() {
	for i, b := range []uint8{0x0f, 0x0d, 0x0f} {
		in := &ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}}
		if i == 0 {
			in.Inputs = []Op{RDI}
		}
		Instruction(in)
	}
}

// fetch fetches up to n lines of what is left of this position's: a few between the multiplications cost nothing.
func (p *product) fetch(n int) {
	for _, s := range p.streams {
		done := label("fetched")
		for range n {
			CMPQ(s.next, s.end)
			JGE(LabelRef(done))
			s.fetch()
			ADDQ(I32(block), s.next)
		}
		Label(done)
	}
}

// eachPosition makes the loop over positions.
func (p *product) eachPosition(body func()) {
	loop, last := label("position"), label("last")
	CMPQ(p.positions, I8(0))
	JEQ(LabelRef(last))
	Label(loop)
	for _, s := range p.streams {
		MOVQ(p.field(s.lines), s.end)
		SHLQ(U8(6), s.end)
		if s.tabled {
			nothing, table := label("nothing"), GP64()
			JZ(LabelRef(nothing))
			MOVQ(s.table, table)
			MOVQ(Mem{Base: table}, s.next)
			ADDQ(I8(8), table)
			MOVQ(table, s.table)
			Label(nothing)
		}
		ADDQ(s.next, s.end)
	}
	body()
	for _, s := range p.streams {
		more, done := label("more"), label("fetched")
		Label(more)
		CMPQ(s.next, s.end)
		JGE(LabelRef(done))
		s.fetch()
		ADDQ(I32(block), s.next)
		JMP(LabelRef(more))
		Label(done)
	}
	for _, d := range []struct {
		distance int
		pointer  Mem
	}{{fieldLeftPosition, p.leftPosition}, {fieldRightPosition, p.rightPosition}, {fieldOutPosition, p.outPosition}} {
		by := GP64()
		MOVQ(p.field(d.distance), by)
		SHLQ(U8(2), by)
		ADDQ(by, d.pointer)
	}
	DECQ(p.positions)
	JNZ(LabelRef(loop))
	Label(last)
}

// cover covers a position's result with strips: as many of the first kind as fit side by side, then the next.
func (p *product) cover(strips []strip, body func(t tile)) {
	MOVQ(p.rightRow, p.cols)
	move(p.rightPosition, p.rightTile)
	move(p.outPosition, p.outColumn)
	for _, s := range strips {
		columns, next := label("columns"), label("next")
		width := I32(s.vectors * size())
		Label(columns)
		CMPQ(p.cols, width)
		JLT(LabelRef(next))
		move(p.field(fieldRows), p.rows)
		move(p.leftPosition, p.leftTile)
		MOVQ(p.outColumn, p.out)
		for _, rows := range s.rows {
			below, lower := label("below"), label("lower")
			Label(below)
			CMPQ(p.rows, I32(rows))
			JLT(LabelRef(lower))
			MOVQ(p.leftTile, p.left)
			MOVQ(p.rightTile, p.right)
			body(tile{rows, s.vectors})
			SUBQ(I32(rows), p.rows)
			JMP(LabelRef(below))
			Label(lower)
		}
		ADDQ(width, p.rightTile)
		ADDQ(width, p.outColumn)
		SUBQ(width, p.cols)
		JMP(LabelRef(columns))
		Label(next)
	}
}

// chains takes a tile through all terms. leftAt is row r's factor of the k-th term to come; stepped goes on by k terms.
func (p *product) chains(t tile, sums [][]VecVirtual, leftAt func(r, k int) Mem, stepped func(k int)) {
	term := func(k int) {
		right := make([]VecVirtual, t.vectors)
		for j := range right {
			right[j] = load(Mem{Base: p.right, Disp: size() * j})
		}
		for r := range t.rows {
			if wide && t.vectors == 1 {
				VFMADD231PS_BCST(leftAt(r, k), right[0], sums[r][0])
				continue
			}
			factor := vec()
			VBROADCASTSS(leftAt(r, k), factor)
			for j := range right {
				VFMADD231PS(right[j], factor, sums[r][j])
			}
		}
		ADDQ(p.rightRow, p.right)
	}
	turns, rest := GP64(), GP64()
	MOVQ(p.turns, turns)
	repeat(turns, func() {
		p.fetch(1)
		for k := range unroll {
			term(k)
		}
		stepped(unroll)
	})
	MOVQ(p.rest, rest)
	repeat(rest, func() {
		term(0)
		stepped(1)
	})
}

func newSums(t tile) [][]VecVirtual {
	sums := make([][]VecVirtual, t.rows)
	for r := range sums {
		for range t.vectors {
			sums[r] = append(sums[r], vec())
		}
	}
	return sums
}

func clearSums(sums [][]VecVirtual) {
	for _, row := range sums {
		for _, v := range row {
			zeroed(v)
		}
	}
}

// store writes a tile's sums; the result's pointer goes on to the tile below.
func (p *product) store(sums [][]VecVirtual) {
	for _, row := range sums {
		for j, s := range row {
			VMOVUPS(s, Mem{Base: p.out, Disp: size() * j})
		}
		ADDQ(p.rightRow, p.out)
	}
}
