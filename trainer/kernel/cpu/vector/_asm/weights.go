package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	taps = 3          // a side of a filter
	all  = 0xffffffff // the mask of a lane that takes part
)

// weightTiles gathers the lanes' taps and transforms them; AVX2 keeps them on the stack.
func weightTiles() {
	begin("weightTiles", "w *float32, lane int, flip bool, step int, u *float32, position, next, n int", "is WeightTiles of 16 lanes.")
	c := newConstants(numbers, "a", "b", "a2", "b2", "c0", "ca", "cb")
	w, u, n := param("w"), param("u"), param("n")
	step, next, halfway := paramBytes("step"), paramBytes("next"), paramBytes("lane")
	position := strides(paramBytes("position"), side-1)
	SHLQ(U8(3), halfway) // from one AVX2 vector's lanes to the other's

	first, tap := GP64(), GP64() // where a filter's first tap is in it, and the way to the next
	XORQ(first, first)
	MOVQ(I32(4), tap)
	plain := label("plain")
	flip := Load(Param("flip"), GP8())
	TESTB(flip, flip)
	JZ(LabelRef(plain))
	MOVQ(I32(4*(taps*taps-1)), first)
	MOVQ(I32(-4), tap)
	Label(plain)

	gather := newGather("lane")
	var stack Mem
	if !wide {
		stack = AllocLocal(taps * taps * size())
	}
	repeat(n, func() {
		lanes := GP64()
		LEAQ(Mem{Base: w, Index: first, Scale: 1}, lanes)
		blocks(func() {
			from := GP64()
			MOVQ(lanes, from)
			var g [taps * taps]Op
			for i := range g {
				v := gather(from)
				g[i] = v
				if !wide {
					g[i] = stack.Offset(i * size())
					VMOVUPS(v, g[i])
				}
				ADDQ(tap, from)
			}
			ADDQ(halfway, lanes)
			c.weights(g, position, u)
		}, u)
		ADDQ(step, w)
		ADDQ(next, u)
	})
	end()
}

// newGather gives the gathering of a number per lane, the lanes as many numbers apart as the parameter says.
func newGather(distance string) func(from Register) VecVirtual {
	var numbers []Constant
	for i := range size() / 4 {
		numbers = append(numbers, U32(i))
	}
	index := vec()
	address, err := Param(distance).Resolve()
	if err != nil {
		panic(err)
	}
	VPBROADCASTD(address.Addr, index)
	VPMULLD(table("lanes", numbers...), index, index)
	return func(from Register) VecVirtual {
		v := zero()
		at := Mem{Base: from, Index: index, Scale: 4}
		if !wide {
			VGATHERDPS(load(table("all", filled(U32(all))...)), at, v)
			return v
		}
		mask, k := GP32(), K()
		MOVL(U32(0xffff), mask)
		KMOVW(mask, k)
		VGATHERDPS(at, k, v)
		return v
	}
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
