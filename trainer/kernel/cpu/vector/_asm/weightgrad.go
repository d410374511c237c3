package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// weightGradTiles takes the outer rows of the result, which need the sums of neighbours, and then the middle one, which needs their differences.
func weightGradTiles() {
	begin("weightGradTiles", "s *float32, position int, dw *float32, tap, n int", "is WeightGradTiles.")
	c := newConstants(numbers, "c0", "ca", "cb", "caa", "cbb", "ca2", "cb2")
	s, dw, n := param("s"), param("dw"), param("n")
	tap := strides(paramBytes("tap"), taps)
	position := strides(paramBytes("position"), side-1)
	down := GP64()
	LEAQ(position.at(position.one, 5, 0), down)
	below := strides(down, side-1)
	if !wide {
		ADDQ(n, n)
	}
	repeat(n, func() {
		column := func(j int) (m [side]Op) {
			top := position.behind(s, j)
			for i := range m {
				m[i] = below.at(top, i, 0)
			}
			return m
		}
		row := func(m [side]Op, i int) {
			to := dw
			for range i {
				to = tap.behind(to, taps)
			}
			outer, inner := c.weightGradOuter(m)
			VMOVUPS(outer, tap.at(to, 0, 0))
			VMOVUPS(inner, tap.at(to, 2, 0))
			VMOVUPS(c.weightGradMiddle(m), tap.at(to, 1, 0))
		}
		var first, last [side]Op
		for j := range side {
			first[j], last[j] = c.weightGradOuter(column(j))
		}
		row(first, 0)
		row(last, 2)
		for j := range side {
			first[j] = c.weightGradMiddle(column(j))
		}
		row(first, 1)
		advance(size(), s, dw)
	})
	end()
}

// weightGradOuter is o0 and o2.
func (c constants) weightGradOuter(s [side]Op) (o0, o2 Op) {
	p, r := vec(), vec()
	VADDPS(s[2], held(s[1]), p)
	VADDPS(s[4], held(s[3]), r)
	first, last := vec(), load(s[5])
	VMULPS(c["c0"], held(s[0]), first)
	VFMADD231PS(c["cb"], r, first)
	VFMADD231PS(c["ca"], p, first)
	VFMADD231PS(c["cb2"], r, last)
	VFMADD231PS(c["ca2"], p, last)
	return first, last
}

// weightGradMiddle is o1.
func (c constants) weightGradMiddle(s [side]Op) Op {
	q, t := vec(), vec()
	VSUBPS(s[2], held(s[1]), q)
	VSUBPS(s[4], held(s[3]), t)
	VMULPS(c["cbb"], t, t)
	VFMADD231PS(c["caa"], q, t)
	return t
}
