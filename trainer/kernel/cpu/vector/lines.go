package vector

import (
	"math"
	"unsafe"
)

// line is a vector: a block's channels of one pixel.
type line = [Lanes]float32

// at is the element i of the array at p, and lineAt the line that begins there.
func at(p *float32, i int) *float32  { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }
func lineAt(p *float32, i int) *line { return (*line)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

// The operations on lines may write over what they read.

// fmas: o = fma(a, b, c).
func fmas(o, a, b, c *line) {
	_, _, _ = a[0], b[0], c[0] // not nil, which the loop need not check
	for l := range o {
		p, d := float64(a[l])*float64(b[l]), float64(c[l])
		s := p + d
		if doubtful(s) {
			s = toOdd(p, d)
		}
		o[l] = float32(s)
	}
}

// fmaBy: o = fma(a, b, c), with one a for all lanes, best a short one.
func fmaBy(o *line, a float32, b, c *line) {
	_, _ = b[0], c[0]
	factor := float64(a)
	for l := range o {
		p, d := factor*float64(b[l]), float64(c[l])
		s := p + d
		if !exact(s, p, d) {
			s = toOdd(p, d)
		}
		o[l] = float32(s)
	}
}

func add(o, a, b *line) {
	for l := range o {
		o[l] = a[l] + b[l]
	}
}

func subtract(o, a, b *line) {
	for l := range o {
		o[l] = a[l] - b[l]
	}
}

func multiply(o, a, b *line) {
	for l := range o {
		o[l] = float32(a[l] * b[l])
	}
}

func multiplyBy(o *line, a float32, b *line) {
	for l := range o {
		o[l] = float32(a * b[l])
	}
}

func relu(o, a *line) {
	for l := range o {
		o[l] = rectified(a[l])
	}
}

// where: o = a where v > 0, else +0.
func where(o, v, a *line) {
	for l := range o {
		o[l] = passed(v[l], a[l])
	}
}

// rectified is +0 where v < 0, else v. The bits of every v < 0 are those of -Inf to the smallest denormal's; signs of activations can't be predicted, so no branch.
func rectified(v float32) float32 {
	bits := math.Float32bits(v)
	if bits-0x80000001 <= 0x7F7FFFFF {
		bits = 0
	}
	return math.Float32frombits(bits)
}

// passed is a where v > 0, else +0. The bits of every v > 0 are 1 to those of +Inf.
func passed(v, a float32) float32 {
	bits := math.Float32bits(a)
	if math.Float32bits(v)-1 >= 0x7F800000 {
		bits = 0
	}
	return math.Float32frombits(bits)
}
