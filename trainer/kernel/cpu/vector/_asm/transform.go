package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The points of F(4x4, 3x3): 0, a, -a, b, -b, infinity.
const (
	a    = 3. / 4
	b    = 3. / 2
	a2   = a * a
	b2   = b * b
	a3   = a2 * a
	c0   = 64. / 81
	ca   = -128. / 243
	cb   = 32. / 243
	side = 6 // of a tile in the transformed domain
)

var numbers = map[string]float32{
	"a": a, "b": b, "a2": a2, "b2": b2, "a2b2": a2 * b2, "sum": a2 + b2, "a3": a3, "two": 2, "four": 4, "eight": 8,
	"c0": c0, "ca": ca, "cb": cb, "caa": ca * a, "cbb": cb * b, "ca2": ca * a2, "cb2": cb * b2,
}

// tiles is the loop over n tiles side by side, and over the vectors of a block of channels.
type tiles struct {
	constants
	pixels      Register // of this tile
	row         stride
	transformed Register // position 0 of this tile
	position    stride
	nextTile, n Register
}

func newTiles(pixels, transformed string, rows int, names ...string) *tiles {
	return &tiles{
		constants:   newConstants(numbers, names...),
		pixels:      param(pixels),
		row:         strides(paramBytes("row"), rows-1),
		transformed: param(transformed),
		position:    strides(paramBytes("position"), side-1),
		nextTile:    paramBytes("tile"),
		n:           param("n"),
	}
}

func (t *tiles) each(body func()) {
	repeat(t.n, func() {
		blocks(body, t.pixels, t.transformed)
		advance(4*block, t.pixels)
		ADDQ(t.nextTile, t.transformed)
	})
	end()
}

func (t *tiles) pixel(i, j int) Mem { return t.row.at(t.pixels, i, block*j) }

// transformedRow is the address of position (i, 0).
func (t *tiles) transformedRow(i int) Register {
	r := t.transformed
	for range i {
		r = t.position.behind(r, side)
	}
	return r
}

// pair makes x, y = fma(c, f, e), fma(-c, f, e); y takes the place of e.
func pair(c Op, e, f VecVirtual) (x, y VecVirtual) {
	x = clone(e)
	VFMADD231PS(c, f, x)
	VFNMADD231PS(c, f, e)
	return x, e
}
