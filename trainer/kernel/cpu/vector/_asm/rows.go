package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const accumulators = 4 // of each of the two sums: pixel i goes to i%4

// pass is a pass over n pixels of a block of channels.
type pass struct {
	constant map[string]VecVirtual // what is per channel
	pixels   map[string]Register   // pointers to the pixel
	zero     VecVirtual
	sums     [2][accumulators]VecVirtual
}

// rowPass writes a pass: pixels and channels are its parameters, four pixels a turn. body does the pixel `pixel` further than the pointers.
func rowPass(name, doc string, pixels, channels []string, sums bool, body func(p *pass, pixel int)) {
	params := ""
	for _, p := range append(append([]string{}, pixels...), channels...) {
		params += p + ", "
	}
	if sums {
		params += "acc, "
	}
	begin(name, params[:len(params)-2]+" *float32, n int", doc)
	half := GP64() // bytes from a block's begin to the vector
	XORQ(half, half)
	pointer := func(name string) Register {
		r := param(name)
		if !wide {
			ADDQ(half, r)
		}
		return r
	}
	again := label("again")
	Label(again)
	p := &pass{constant: map[string]VecVirtual{}, pixels: map[string]Register{}, zero: zero()}
	for _, name := range channels {
		p.constant[name] = load(Mem{Base: pointer(name)})
	}
	for _, name := range pixels {
		p.pixels[name] = pointer(name)
	}
	at := func(acc Register, s, i int) Mem { return Mem{Base: acc, Disp: block * (accumulators*s + i)} }
	if sums {
		acc := pointer("acc")
		for s := range p.sums {
			for i := range p.sums[s] {
				p.sums[s][i] = load(at(acc, s, i))
			}
		}
	}
	p.loop(pixels, body)
	if sums {
		acc := pointer("acc")
		for s := range p.sums {
			for i, v := range p.sums[s] {
				VMOVUPS(v, at(acc, s, i))
			}
		}
	}
	if !wide {
		ADDQ(I32(size()), half)
		CMPQ(half, I32(block))
		JLT(LabelRef(again))
	}
	end()
}

func (p *pass) loop(pixels []string, body func(p *pass, pixel int)) {
	n, rest := param("n"), GP64()
	MOVQ(n, rest)
	ANDQ(U8(accumulators-1), rest)
	SHRQ(U8(2), n)
	forward := func(by int) {
		for _, name := range pixels {
			advance(by*block, p.pixels[name])
		}
	}
	repeat(n, func() {
		for i := range accumulators {
			body(p, i)
		}
		forward(accumulators)
	})
	done := label("done")
	for i := range accumulators - 1 {
		CMPQ(rest, U8(i+1))
		JLT(LabelRef(done))
		body(p, i)
	}
	Label(done)
}

func (p *pass) at(name string, pixel int) Mem { return Mem{Base: p.pixels[name], Disp: block * pixel} }

// fma is x*scale + shift of the pixel.
func (p *pass) fma(pixel int) VecVirtual {
	v := clone(p.constant["shift"])
	VFMADD231PS(p.at("x", pixel), p.constant["scale"], v)
	return v
}

// relu keeps NaN and -0: of equals, and beside NaN, the maximum is the second factor.
func relu(zero, v Register) { VMAXPS(v, zero, v) }

// wherePositive is what is in memory where v > 0, else +0.
func wherePositive(zero Register, v, from Op) VecVirtual {
	out := vec()
	if wide {
		k := K()
		VCMPPS(U8(lessThan), v, zero, k)
		VMOVUPS_Z(from, k, out)
		return out
	}
	VCMPPS(U8(lessThan), v, zero, out)
	VANDPS(from, out, out)
	return out
}

const lessThan = 0x11 // ordered, quiet

// gradSums adds g, of the pixel, to the sums.
func (p *pass) gradSums(g VecVirtual, pixel int) {
	d := load(p.at("x", pixel))
	VSUBPS(p.constant["mean"], d, d)
	VADDPS(g, p.sums[0][pixel], p.sums[0][pixel])
	VFMADD231PS(d, g, p.sums[1][pixel])
}

func rowPasses() {
	rowPass("norm", "is Norm.", []string{"y", "x"}, []string{"scale", "shift"}, false, func(p *pass, i int) {
		VMOVUPS(p.fma(i), p.at("y", i))
	})
	rowPass("normReLU", "is NormReLU.", []string{"y", "x"}, []string{"scale", "shift"}, false, func(p *pass, i int) {
		v := p.fma(i)
		relu(p.zero, v)
		VMOVUPS(v, p.at("y", i))
	})
	rowPass("normAddReLU", "is NormAddReLU.", []string{"y", "z", "x", "r"}, []string{"scale", "shift"}, false, func(p *pass, i int) {
		v := p.fma(i)
		VADDPS(p.at("r", i), v, v)
		relu(p.zero, v)
		VMOVUPS(v, p.at("y", i))
		VMOVUPS(v, p.at("z", i))
	})
	rowPass("normGrad", "is NormGrad.", []string{"dx", "dy", "x"}, []string{"scale", "slope", "shift"}, false, func(p *pass, i int) {
		v := clone(p.constant["shift"])
		VFMADD231PS(p.at("x", i), p.constant["slope"], v)
		VFMADD231PS(p.at("dy", i), p.constant["scale"], v)
		VMOVUPS(v, p.at("dx", i))
	})
	rowPass("scale", "is Scale.", []string{"y", "x"}, []string{"scale"}, false, func(p *pass, i int) {
		v := vec()
		VMULPS(p.at("x", i), p.constant["scale"], v)
		VMOVUPS(v, p.at("y", i))
	})
	rowPass("sums", "is Sums.", []string{"x"}, []string{"shift"}, true, func(p *pass, i int) {
		d := load(p.at("x", i))
		VSUBPS(p.constant["shift"], d, d)
		VADDPS(d, p.sums[0][i], p.sums[0][i])
		VFMADD231PS(d, d, p.sums[1][i])
	})
	rowPass("gradSums", "is GradSums.", []string{"dy", "x"}, []string{"mean"}, true, func(p *pass, i int) {
		p.gradSums(load(p.at("dy", i)), i)
	})
	rowPass("normReLUGradSums", "is NormReLUGradSums.", []string{"grad", "dy", "x"}, []string{"scale", "shift", "mean"}, true, func(p *pass, i int) {
		g := wherePositive(p.zero, p.fma(i), p.at("dy", i))
		p.gradSums(g, i)
		VMOVUPS(g, p.at("grad", i))
	})
	rowPass("addReLUGradSums", "is AddReLUGradSums.", []string{"grad", "dy", "r", "z", "x"}, []string{"mean"}, true, func(p *pass, i int) {
		g := load(p.at("dy", i))
		VADDPS(p.at("r", i), g, g)
		g = wherePositive(p.zero, p.at("z", i), g)
		p.gradSums(g, i)
		VMOVUPS(g, p.at("grad", i))
	})
}
