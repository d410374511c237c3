package main

import (
	"fmt"
	"slices"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const block = 64 // bytes of a pixel's block of channels

// wide is whether the set is AVX-512: vectors of 16 lanes and 32 registers, else AVX2's of 8 and 16.
var wide bool

// size is the bytes of a vector.
func size() int {
	if wide {
		return 64
	}
	return 32
}

func vec() VecVirtual {
	if wide {
		return ZMM()
	}
	return YMM()
}

var labels int // of the function so far

func label(name string) string {
	labels++
	return fmt.Sprintf("%s%d", name, labels)
}

// begin starts a function.
func begin(name, params, doc string) {
	if wide {
		name += "AVX512"
	} else {
		name += "AVX2"
	}
	labels = 0
	TEXT(name, attr.NOSPLIT, "func("+params+")")
	Doc(name + " " + doc)
}

func end() {
	VZEROUPPER()
	RET()
}

func param(name string) Register { return Load(Param(name), GP64()) }

// paramBytes is a parameter that counts float32, in bytes.
func paramBytes(name string) Register {
	r := param(name)
	SHLQ(U8(2), r)
	return r
}

func load(from Op) VecVirtual {
	v := vec()
	VMOVUPS(from, v)
	return v
}

func clone(from Register) VecVirtual {
	v := vec()
	VMOVAPS(from, v)
	return v
}

// held is an operand in a register.
func held(o Op) VecVirtual {
	if v, ok := o.(VecVirtual); ok {
		return v
	}
	return load(o)
}

func zero() VecVirtual {
	v := vec()
	zeroed(v)
	return v
}

func zeroed(v Register) { VXORPS(v, v, v) }

var tables = map[string]Mem{}

// table is memory that holds numbers, made once.
func table(name string, values ...Constant) Mem {
	m, ok := tables[name]
	if !ok {
		m = GLOBL(name, attr.RODATA|attr.NOPTR)
		for i, v := range values {
			DATA(4*i, v)
		}
		tables[name] = m
	}
	return m
}

// filled is a vector's worth of a number.
func filled(c Constant) []Constant {
	return slices.Repeat([]Constant{c}, size()/4)
}

// constants are numbers by their names: registers in a set with many, else vectors in memory.
type constants map[string]Op

func newConstants(values map[string]float32, names ...string) constants {
	c := constants{}
	for _, name := range names {
		if !wide {
			c[name] = table(name, filled(F32(values[name]))...)
			continue
		}
		r := vec()
		VBROADCASTSS(table(name, F32(values[name])), r)
		c[name] = r
	}
	return c
}

// register is a constant in a register, for use beside an operand in memory.
func (c constants) register(name string) Register { return held(c[name]) }

// stride is a distance in bytes, with the multiples of it that addressing cannot make by scaling.
type stride struct{ one, three, five Register }

// strides makes the multiples up to n of a distance.
func strides(one Register, n int) stride {
	s := stride{one: one}
	if n >= 3 {
		s.three = GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 2}, s.three)
	}
	if n >= 5 {
		s.five = GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 4}, s.five)
	}
	return s
}

// at is the memory i strides behind base.
func (s stride) at(base Register, i, disp int) Mem {
	m := Mem{Base: base, Disp: disp, Index: s.one, Scale: uint8(i)}
	switch i {
	case 0:
		m.Index, m.Scale = nil, 0
	case 3:
		m.Index, m.Scale = s.three, 1
	case 5:
		m.Index, m.Scale = s.five, 1
	case 6:
		m.Index, m.Scale = s.three, 2
	}
	return m
}

// behind is the address i strides behind base, in a register of its own.
func (s stride) behind(base Register, i int) Register {
	r := GP64()
	LEAQ(s.at(base, i, 0), r)
	return r
}

// repeat makes a loop of as many turns as the register says, which is used up.
func repeat(turns Register, body func()) {
	loop, done := label("loop"), label("done")
	TESTQ(turns, turns)
	JZ(LabelRef(done))
	Label(loop)
	body()
	DECQ(turns)
	JNZ(LabelRef(loop))
	Label(done)
}

// blocks does something to a block of channels: a vector, or two vectors one after the other. The pointers go from the one to the other.
func blocks(body func(), pointers ...Register) {
	if wide {
		body()
		return
	}
	halves := GP64()
	MOVQ(U32(2), halves)
	repeat(halves, func() {
		body()
		advance(size(), pointers...)
	})
	advance(-block, pointers...)
}

func advance(by int, pointers ...Register) {
	for _, p := range pointers {
		ADDQ(I32(by), p)
	}
}
