package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// inputTiles goes down the columns for two rows of the result at a time, so that the rows' twelve vectors are all that lives.
func inputTiles() {
	begin("inputTiles", "x *float32, row int, v *float32, position, tile, n int", "is InputTiles.")
	t := newTiles("x", "v", 6, "a", "b", "a2", "b2", "sum", "a2b2")
	t.each(func() {
		t.inputPair(1, "b2", "a")
		t.inputPair(3, "a2", "b")
		t.inputEdge(0)
		t.inputEdge(1)
	})
}

// inputPair is rows i and i+1 of the result.
func (t *tiles) inputPair(i int, square, point string) {
	s, p := t.register(square), t.register(point)
	var up, down [side]VecVirtual
	for j := range side {
		e := load(t.pixel(4, j))
		VFNMADD231PS(t.pixel(2, j), s, e)
		f := load(t.pixel(3, j))
		VFNMADD231PS(t.pixel(1, j), s, f)
		up[j], down[j] = pair(p, e, f)
	}
	t.inputRow(up, t.transformedRow(i))
	t.inputRow(down, t.transformedRow(i+1))
}

// inputEdge is row 0 or, one pixel further, row 5.
func (t *tiles) inputEdge(below int) {
	s, p := t.register("sum"), t.register("a2b2")
	var d [side]VecVirtual
	for j := range side {
		d[j] = load(t.pixel(4+below, j))
		VFNMADD231PS(t.pixel(2+below, j), s, d[j])
		VFMADD231PS(t.pixel(below, j), p, d[j])
	}
	t.inputRow(d, t.transformedRow(5*below))
}

// inputRow transforms along a row, which is used up.
func (t *tiles) inputRow(d [side]VecVirtual, to Register) {
	put := func(j int, v Op) { VMOVUPS(v, t.position.at(to, j, 0)) }
	first := clone(d[4])
	VFNMADD231PS(t.constants["sum"], d[2], first)
	VFMADD231PS(t.constants["a2b2"], d[0], first)
	put(0, first)
	VFNMADD231PS(t.constants["sum"], d[3], d[5])
	VFMADD231PS(t.constants["a2b2"], d[1], d[5])
	put(5, d[5])
	e, f := clone(d[4]), clone(d[3])
	VFNMADD231PS(t.constants["b2"], d[2], e)
	VFNMADD231PS(t.constants["b2"], d[1], f)
	x, y := pair(t.constants["a"], e, f)
	put(1, x)
	put(2, y)
	g, h := d[4], d[3]
	VFNMADD231PS(t.constants["a2"], d[2], g)
	VFNMADD231PS(t.constants["a2"], d[1], h)
	x, y = pair(t.constants["b"], g, h)
	put(3, x)
	put(4, y)
}
