package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// transpose turns squares of as many rows as a vector has lanes, side by side.
func transpose() {
	begin("transpose", "dst *float32, to *int, src *float32, from *int, n int", "is Transpose of n squares side by side.")
	side := size() / 4
	dst, to, src, from, n := param("dst"), param("to"), param("src"), param("from"), param("n")
	repeat(n, func() {
		rows := make([]VecVirtual, side)
		for i := range rows {
			rows[i] = load(Mem{Base: listed(from, i, src)})
		}
		for j, v := range transposed(rows) {
			VMOVUPS(v, Mem{Base: listed(to, j, dst)})
		}
		advance(size(), src)
		advance(8*side, to)
	})
	end()
}

// transposed are the columns of a square. Quarters of 128 bits are squares of 4 first: quads[4g+c] has column 4q+c of the rows 4g to 4g+3 in its quarter q.
func transposed(rows []VecVirtual) []VecVirtual {
	pair := func(op func(b, a, to Op), a, b VecVirtual) VecVirtual {
		v := vec()
		op(b, a, v)
		return v
	}
	low, high := func(b, a, to Op) { VUNPCKLPS(b, a, to) }, func(b, a, to Op) { VUNPCKHPS(b, a, to) }
	lowPairs, highPairs := func(b, a, to Op) { VUNPCKLPD(b, a, to) }, func(b, a, to Op) { VUNPCKHPD(b, a, to) }
	quads := make([]VecVirtual, len(rows))
	for g := 0; g < len(rows); g += 4 {
		a, b := pair(low, rows[g], rows[g+1]), pair(low, rows[g+2], rows[g+3])
		c, d := pair(high, rows[g], rows[g+1]), pair(high, rows[g+2], rows[g+3])
		quads[g], quads[g+1] = pair(lowPairs, a, b), pair(highPairs, a, b)
		quads[g+2], quads[g+3] = pair(lowPairs, c, d), pair(highPairs, c, d)
	}
	quarters := func(pick uint8) func(b, a, to Op) {
		return func(b, a, to Op) {
			if wide {
				VSHUFF32X4(U8(pick), b, a, to)
			} else {
				VPERM2F128(U8(pick), b, a, to)
			}
		}
	}
	columns := make([]VecVirtual, len(rows))
	for c := range 4 {
		if !wide {
			columns[c], columns[4+c] = pair(quarters(0x20), quads[c], quads[4+c]), pair(quarters(0x31), quads[c], quads[4+c])
			continue
		}
		const even, odd = 0x88, 0xdd
		a, b := pair(quarters(even), quads[c], quads[4+c]), pair(quarters(even), quads[8+c], quads[12+c])
		columns[c], columns[8+c] = pair(quarters(even), a, b), pair(quarters(odd), a, b)
		a, b = pair(quarters(odd), quads[c], quads[4+c]), pair(quarters(odd), quads[8+c], quads[12+c])
		columns[4+c], columns[12+c] = pair(quarters(even), a, b), pair(quarters(odd), a, b)
	}
	return columns
}
