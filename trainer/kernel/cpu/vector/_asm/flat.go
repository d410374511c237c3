package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// flat is a pass over n numbers: four vectors a turn, then one, then a part of one.
type flat struct {
	pointers map[string]Register
	factor   map[string]VecVirtual
	zero     VecVirtual
	mask     Register // while the part is done: its lanes, in a mask register or a vector; else nil
	disp     int
}

func flatPass(name, doc string, streams, factors []string, body func(f *flat)) {
	params := ""
	for i, s := range streams {
		if i > 0 {
			params += ", "
		}
		params += s
	}
	params += " *float32, n int"
	for i, s := range factors {
		params += ", " + s
		if i == len(factors)-1 {
			params += " float32"
		}
	}
	begin(name, params, doc)
	f := &flat{pointers: map[string]Register{}, factor: map[string]VecVirtual{}, zero: zero()}
	for _, s := range streams {
		f.pointers[s] = param(s)
	}
	for _, s := range factors {
		address, err := Param(s).Resolve()
		if err != nil {
			panic(err)
		}
		f.factor[s] = vec()
		VBROADCASTSS(address.Addr, f.factor[s])
	}
	n := param("n")
	whole := func(vectors int) {
		turns := GP64()
		MOVQ(n, turns)
		lanes := size() / 4 * vectors
		SHRQ(U8(shift(lanes)), turns)
		ANDQ(I32(lanes-1), n)
		repeat(turns, func() {
			for v := range vectors {
				f.disp = v * size()
				body(f)
			}
			f.disp = 0
			for _, s := range streams {
				advance(vectors*size(), f.pointers[s])
			}
		})
	}
	whole(4)
	whole(1)
	done := label("done")
	TESTQ(n, n)
	JZ(LabelRef(done))
	f.mask = firstLanes(n)
	body(f)
	Label(done)
	end()
}

// shift is the binary logarithm of a power of two.
func shift(n int) (s int) {
	for ; n > 1; n /= 2 {
		s++
	}
	return s
}

const all = 0xffffffff // the mask of a lane that takes part

// firstLanes is the mask of a vector's first n lanes, n less than all.
func firstLanes(n Register) Register {
	if wide {
		one, k := GP64(), K()
		MOVQ(U32(1), one)
		MOVQ(n, RCX)
		SHLQ(CL, one)
		DECQ(one)
		KMOVW(one.As32(), k)
		return k
	}
	table := table("firstLanes", append(filled(U32(all)), filled(U32(0))...)...)
	end := GP64()
	LEAQ(table.Offset(size()), end)
	back := GP64()
	MOVQ(n, back)
	NEGQ(back)
	return load(Mem{Base: end, Index: back, Scale: 4})
}

func (f *flat) load(name string) VecVirtual {
	at, v := Mem{Base: f.pointers[name], Disp: f.disp}, vec()
	switch {
	case f.mask == nil:
		VMOVUPS(at, v)
	case wide:
		VMOVUPS_Z(at, f.mask, v)
	default:
		VMASKMOVPS(at, f.mask, v)
	}
	return v
}

func (f *flat) store(v Register, name string) {
	at := Mem{Base: f.pointers[name], Disp: f.disp}
	switch {
	case f.mask == nil:
		VMOVUPS(v, at)
	case wide:
		VMOVUPS(v, f.mask, at)
	default:
		VMASKMOVPS(v, f.mask, at)
	}
}

func flatPasses() {
	flatPass("add", "is Add.", []string{"y", "a", "b"}, nil, func(f *flat) {
		v := f.load("a")
		VADDPS(f.load("b"), v, v)
		f.store(v, "y")
	})
	flatPass("relu", "is ReLU.", []string{"y", "x"}, nil, func(f *flat) {
		v := f.load("x")
		relu(f.zero, v)
		f.store(v, "y")
	})
	flatPass("reluGrad", "is ReLUGrad.", []string{"dx", "dy", "y"}, nil, func(f *flat) {
		f.store(wherePositive(f.zero, f.load("y"), f.load("dy")), "dx")
	})
	flatPass("sgd", "is SGD.", []string{"theta", "v", "grad"}, []string{"momentum", "decay", "lr"}, func(f *flat) {
		theta, g := f.load("theta"), f.load("grad")
		VFMADD231PS(f.factor["decay"], theta, g)
		v := f.load("v")
		VFMADD213PS(g, f.factor["momentum"], v)
		VFNMADD231PS(f.factor["lr"], v, theta)
		f.store(v, "v")
		f.store(theta, "theta")
	})
	flatPass("average", "is Average.", []string{"r", "s"}, []string{"keep", "take", "scale"}, func(f *flat) {
		s, r := f.load("s"), f.load("r")
		VMULPS(f.factor["scale"], s, s)
		VMULPS(f.factor["take"], s, s)
		VFMADD231PS(f.factor["keep"], r, s)
		f.store(s, "r")
	})
}
