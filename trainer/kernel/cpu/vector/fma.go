package vector

import "math"

// fma is a*b + c rounded once. The product of two float32 is exact in float64, so the sum there is rounded once, and its conversion would be a second
// rounding: that goes wrong only where the sum seems to lie just between two float32 (doubtful), and is right after a rounding to odd (Boldo and Melquiond 2008).
// A compiler that fuses the product into the sum changes nothing.
func fma(a, b, c float32) float32 {
	s := float64(a)*float64(b) + float64(c)
	if doubtful(s) {
		s = toOdd(a, b, c)
	}
	return float32(s)
}

// doubtful is whether s may be rounded to a wrong float32: of the 29 bits that a normal one lacks only the first is set, or s is among the denormals, where
// other bits are lacking. It is small enough to be inlined, which fma is not: the loops write fma out.
func doubtful(s float64) bool {
	const normal = 0x3810000000000000 // 2^-126
	bits := math.Float64bits(s)
	return bits<<35 == 1<<63 || 2*bits-1 < 2*normal-1
}

// toOdd is a*b + c rounded to odd: if it is no float64, the one of its two neighbours whose last bit is set.
func toOdd(a, b, c float32) float64 {
	x, y := float64(float64(a)*float64(b)), float64(c)
	s := float64(x + y)
	t := float64(s - x)
	e := float64(x-float64(s-t)) + float64(y-t) // s + e = x + y exactly (Knuth's TwoSum)
	bits := math.Float64bits(s)
	switch {
	case bits&1 != 0 || e == 0 || e != e: // e is NaN where s is infinite or NaN
	case e > 0 == (s > 0):
		bits++
	default:
		bits--
	}
	return math.Float64frombits(bits)
}
