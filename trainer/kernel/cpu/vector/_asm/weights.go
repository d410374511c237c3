package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const taps = 3 // a side of a filter

// weightTiles brings the lanes' taps together in a table on the stack, from its end if the filter is to be flipped, and transforms them.
func weightTiles() {
	begin("weightTiles", "w *float32, lane int, flip bool, step int, u *float32, position, next, n int", "is WeightTiles of 16 lanes.")
	c := newConstants(numbers, "a", "b", "a2", "b2", "c0", "ca", "cb")
	w, u, n := param("w"), param("u"), param("n")
	step, next, first := local(), local(), local()
	MOVQ(paramBytes("step"), step)
	MOVQ(paramBytes("next"), next)
	lane, position := strides(paramBytes("lane"), 4), strides(paramBytes("position"), side-1)

	table, entry, way := GP64(), GP64(), GP64() // a tap's entry, and the way to the next tap's
	LEAQ(AllocLocal((taps*taps+1)*size()).Offset(size()-1), table)
	ANDQ(I32(-size()), table)
	MOVQ(table, entry)
	MOVQ(I32(size()), way)
	plain := label("plain")
	flip := Load(Param("flip"), GP8())
	TESTB(flip, flip)
	JZ(LabelRef(plain))
	ADDQ(I32((taps*taps-1)*size()), entry)
	MOVQ(I32(-size()), way)
	Label(plain)
	MOVQ(entry, first)

	repeat(n, func() {
		lanes := GP64()
		MOVQ(w, lanes)
		blocks(func() {
			MOVQ(first, entry)
			fours := make([]Register, size()/16) // the first of each four lanes
			fours[0] = lanes
			for i := range fours[1:] {
				fours[i+1] = lane.behind(fours[i], 4)
			}
			var g [taps * taps]Op
			for i := range g {
				VMOVUPS(gather(fours, lane, 4*i), Mem{Base: entry})
				ADDQ(way, entry)
				g[i] = Mem{Base: table, Disp: i * size()}
			}
			LEAQ(lane.at(fours[len(fours)-1], 4, 0), lanes)
			c.weights(g, position, u)
		}, u)
		ADDQ(step, w)
		ADDQ(next, u)
	})
	end()
}

// gather brings the lanes' numbers together one by one, which is quicker than the instruction of that name.
func gather(fours []Register, lane stride, disp int) VecVirtual {
	v := zero()
	for i, base := range fours {
		x := Register(XMM())
		if i == 0 {
			x = v.AsX()
		}
		VMOVSS(lane.at(base, 0, disp), x)
		for l := 1; l < 4; l++ {
			VINSERTPS(U8(16*l), lane.at(base, l, disp), x, x)
		}
		switch {
		case i == 0:
		case wide:
			VINSERTF32X4(U8(i), x, v, v)
		default:
			VINSERTF128(U8(i), x, v, v)
		}
	}
	return v
}

// weights transforms filters g, rows of the result in pairs.
func (c constants) weights(g [taps * taps]Op, position stride, u Register) {
	row := u
	put := func(v [taps]VecVirtual, to Register) {
		c.weightRow(v, func(j int, v Op) { VMOVUPS(v, position.at(to, j, 0)) })
	}
	var top, bottom [taps]VecVirtual
	for j := range top {
		top[j] = vec()
		VMULPS(c["c0"], held(g[j]), top[j])
	}
	put(top, row)
	for _, p := range []struct{ square, point, factor string }{{"a2", "a", "ca"}, {"b2", "b", "cb"}} {
		for j := range top {
			top[j], bottom[j] = c.weightPair(p.square, p.point, p.factor, g[j], g[taps+j], g[2*taps+j])
		}
		row = position.behind(row, side)
		put(top, row)
		row = position.behind(row, side)
		put(bottom, row)
	}
	for j := range top {
		top[j] = load(g[2*taps+j])
	}
	put(top, position.behind(row, side))
}

// weightPair is o1 and o2, or o3 and o4.
func (c constants) weightPair(square, point, factor string, g0, g1, g2 Op) (x, y VecVirtual) {
	e, f := load(g0), vec()
	VFMADD231PS(c[square], held(g2), e)
	VMULPS(c[point], held(g1), f)
	x = vec()
	VADDPS(f, e, x)
	VMULPS(c[factor], x, x)
	VSUBPS(f, e, e)
	VMULPS(c[factor], e, e)
	return x, e
}

func (c constants) weightRow(g [taps]VecVirtual, put func(j int, v Op)) {
	put(5, g[2])
	x, y := c.weightPair("a2", "a", "ca", g[0], g[1], g[2])
	put(1, x)
	put(2, y)
	x, y = c.weightPair("b2", "b", "cb", g[0], g[1], g[2])
	put(3, x)
	put(4, y)
	VMULPS(c["c0"], g[0], g[0])
	put(0, g[0])
}
