package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func accumulate() {
	begin("accumulate", "p *int, v, q, s *float32, ahead *uintptr, first bool", "is Accumulate; p is the ten numbers of a Product.")
	p := newProduct("v", "q", "s")
	p.reads("ahead")
	strips := []strip{{2, []int{6, 4, 2}}}
	if wide {
		strips = []strip{{4, []int{4}}, {2, []int{8}}, {1, []int{16}}}
	}
	p.eachPosition(func() { p.cover(strips, p.accumulateTile) })
	end()
}

func (p *product) accumulateTile(t tile) {
	sums := newSums(t)
	first, begun := label("first"), label("begun")
	flag := Load(Param("first"), GP8())
	TESTB(flag, flag)
	JNZ(LabelRef(first))
	out := GP64()
	MOVQ(p.out, out)
	for _, row := range sums {
		for j, v := range row {
			VMOVUPS(Mem{Base: out, Disp: size() * j}, v)
		}
		ADDQ(p.rightRow, out)
	}
	JMP(LabelRef(begun))
	Label(first)
	clearSums(sums)
	Label(begun)
	p.chains(t, sums,
		func(r, k int) Mem { return p.leftRow.at(p.left, k, 4*r) },
		func(k int) { LEAQ(p.leftRow.at(p.left, k, 0), p.left) })
	p.store(sums)
	ADDQ(I32(4*t.rows), p.leftTile)
}
