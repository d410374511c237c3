package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gradTiles is by pairs of rows, as inputTiles is.
func gradTiles() {
	begin("gradTiles", "y *float32, row int, q *float32, position, tile, n int", "is GradTiles.")
	t := newTiles("y", "q", 4, "a", "b", "a2", "b2")
	t.each(func() {
		t.gradPair(1, "a2", "a")
		t.gradPair(3, "b2", "b")
		t.gradEdge(0, 0)
		t.gradEdge(5, 3)
	})
}

// gradPair is rows i and i+1 of the result.
func (t *tiles) gradPair(i int, square, point string) {
	s, p := t.register(square), t.register(point)
	var up, down [4]VecVirtual
	for j := range up {
		e := load(t.pixel(0, j))
		VFMADD231PS(t.pixel(2, j), s, e)
		f := load(t.pixel(1, j))
		VFMADD231PS(t.pixel(3, j), s, f)
		up[j], down[j] = pair(p, e, f)
	}
	t.gradRow(up, t.transformedRow(i))
	t.gradRow(down, t.transformedRow(i+1))
}

// gradEdge is row i of the result, from a row of pixels as it is.
func (t *tiles) gradEdge(i, row int) {
	var y [4]VecVirtual
	for j := range y {
		y[j] = load(t.pixel(row, j))
	}
	t.gradRow(y, t.transformedRow(i))
}

// gradRow transforms along a row, which is used up.
func (t *tiles) gradRow(y [4]VecVirtual, to Register) {
	put := func(j int, v Op) { VMOVUPS(v, t.position.at(to, j, 0)) }
	put(0, y[0])
	put(5, y[3])
	e, f := clone(y[0]), clone(y[1])
	VFMADD231PS(t.constants["a2"], y[2], e)
	VFMADD231PS(t.constants["a2"], y[3], f)
	x, z := pair(t.constants["a"], e, f)
	put(1, x)
	put(2, z)
	g, h := y[0], y[1]
	VFMADD231PS(t.constants["b2"], y[2], g)
	VFMADD231PS(t.constants["b2"], y[3], h)
	x, z = pair(t.constants["b"], g, h)
	put(3, x)
	put(4, z)
}
