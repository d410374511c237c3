package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func multiply() {
	begin("multiply", "p *int, v, u, m *float32, ahead *uintptr, write *float32", "is Multiply; p is the ten numbers of a Product.")
	p := newProduct("v", "u", "m")
	p.reads("ahead")
	p.writes("write")
	strips := []strip{{2, []int{6, 4, 2}}}
	if wide {
		strips = []strip{{4, []int{4}}, {2, []int{8}}, {1, []int{8}}}
		general := label("general")
		CMPQ(p.field(fieldDepth), U8(16))
		JNE(LabelRef(general))
		CMPQ(p.field(fieldCols), U8(16))
		JNE(LabelRef(general))
		p.eachPosition(p.multiply16)
		end()
		Label(general)
	}
	p.eachPosition(func() { p.cover(strips, p.multiplyTile) })
	end()
}

// leftRows gives the address of row r of a tile's left rows, disp bytes on, and the pointers that it is made of.
func (p *product) leftRows(rows int) (at func(r, disp int) Mem, pointers []Register) {
	pointers = []Register{p.left}
	if rows > 4 {
		pointers = append(pointers, p.leftRow.behind(p.left, 4))
	}
	return func(r, disp int) Mem { return p.leftRow.at(pointers[r/4], r%4, disp) }, pointers
}

func (p *product) multiplyTile(t tile) {
	at, pointers := p.leftRows(t.rows)
	sums := newSums(t)
	clearSums(sums)
	p.chains(t, sums,
		func(r, k int) Mem { return at(r, 4*k) },
		func(k int) { advance(4*k, pointers...) })
	p.store(sums)
	below := GP64()
	MOVQ(p.leftTile, below)
	LEAQ(p.leftRow.at(below, t.rows, 0), below)
	MOVQ(below, p.leftTile)
}

// multiply16 is a position of 16 terms and 16 columns: all of the right factor stays in registers.
func (p *product) multiply16() {
	const terms, rows = 16, 8
	MOVQ(p.leftPosition, p.left)
	MOVQ(p.rightPosition, p.right)
	MOVQ(p.outPosition, p.out)
	move(p.field(fieldRows), p.rows)
	right := make([]VecVirtual, terms)
	for k := range right {
		right[k] = load(Mem{Base: p.right, Disp: block * k})
	}
	loop, done := label("rows"), label("done")
	Label(loop)
	CMPQ(p.rows, I8(rows))
	JLT(LabelRef(done))
	p.fetch(4)
	at, pointers := p.leftRows(rows)
	sums := newSums(tile{rows, 1})
	clearSums(sums)
	for k := range terms {
		for r := range rows {
			VFMADD231PS_BCST(at(r, 4*k), right[k], sums[r][0])
		}
	}
	p.store(sums)
	LEAQ(p.leftRow.at(pointers[1], 4, 0), p.left)
	SUBQ(I32(rows), p.rows)
	JMP(LabelRef(loop))
	Label(done)
}
