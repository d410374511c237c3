package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// outputTiles takes the even rows of the result, which need the sums of neighbours, and then the odd ones, which need their differences.
func outputTiles() {
	begin("outputTiles", "m *float32, position, tile int, y *float32, row, n int", "is OutputTiles.")
	t := newTiles("y", "m", 4, "a", "a2", "a3", "two", "four", "eight")
	down := GP64() // from a position to the one below
	LEAQ(t.position.at(t.position.one, 5, 0), down)
	below := strides(down, side-1)
	t.each(func() {
		column := func(j int) func(i int) Mem {
			top := t.position.behind(t.transformed, j)
			return func(i int) Mem { return below.at(top, i, 0) }
		}
		var first, second [side]VecVirtual
		for j := range side {
			m := column(j)
			first[j], second[j] = t.outputEven(m(0), m(1), m(2), m(3), m(4))
		}
		t.outputRow(first, 0)
		t.outputRow(second, 2)
		for j := range side {
			m := column(j)
			first[j], second[j] = t.outputOdd(m(1), m(2), m(3), m(4), load(m(5)))
		}
		t.outputRow(first, 1)
		t.outputRow(second, 3)
	})
}

// outputEven is o0 and o2.
func (t *tiles) outputEven(m0, m1, m2, m3, m4 Op) (o0, o2 VecVirtual) {
	p, r := vec(), vec()
	VADDPS(m2, held(m1), p)
	VADDPS(m4, held(m3), r)
	o0 = vec()
	VADDPS(m0, p, o0)
	VADDPS(r, o0, o0)
	VFMADD231PS(t.constants["four"], r, p)
	VMULPS(t.constants["a2"], p, p)
	return o0, p
}

// outputOdd is o1 and o3, which takes the place of m5.
func (t *tiles) outputOdd(m1, m2, m3, m4 Op, m5 VecVirtual) (o1, o3 VecVirtual) {
	q, s := vec(), vec()
	VSUBPS(m2, held(m1), q)
	VSUBPS(m4, held(m3), s)
	o1 = clone(q)
	VFMADD231PS(t.constants["two"], s, o1)
	VMULPS(t.constants["a"], o1, o1)
	VFMADD231PS(t.constants["eight"], s, q)
	VFMADD231PS(t.constants["a3"], q, m5)
	return o1, m5
}

// outputRow transforms along a row into row i of the pixels.
func (t *tiles) outputRow(m [side]VecVirtual, i int) {
	o0, o2 := t.outputEven(m[0], m[1], m[2], m[3], m[4])
	VMOVUPS(o0, t.pixel(i, 0))
	VMOVUPS(o2, t.pixel(i, 2))
	o1, o3 := t.outputOdd(m[1], m[2], m[3], m[4], m[5])
	VMOVUPS(o1, t.pixel(i, 1))
	VMOVUPS(o3, t.pixel(i, 3))
}
