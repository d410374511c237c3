package vector

import "math"

// fma is a*b + c rounded once. The product of two float32 is exact in float64, so the sum there is rounded once, and its conversion would be a second
// rounding: that goes wrong only where the sum seems to lie just between two float32 (doubtful), and is right after a rounding to odd (Boldo and Melquiond 2008).
// A compiler that fuses the product into the sum changes nothing.
func fma(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	if doubtful(s) {
		s = toOdd(p, d)
	}
	return float32(s)
}

// doubtful is whether s may be rounded to a wrong float32: it seems to be halfway, or is among the denormals, where more bits are lacking. It is small enough to
// be inlined, which fma is not: the loops write fma out.
func doubtful(s float64) bool {
	const normal = 0x3810000000000000 // 2^-126
	return halfway(s) || 2*math.Float64bits(s)-1 < 2*normal-1
}

// halfway is whether s seems just between two normal float32: of the 29 bits that these lack only the first is set.
func halfway(s float64) bool { return math.Float64bits(s)&0x1FFFFFFF == 0x10000000 }

// exact is whether s = p + d, whose conversion is then the only rounding. The larger of p and d can be taken from s without an error (Dekker's Fast2Sum), so
// that the difference shows what s lacks. It asks more than doubtful, and is for short factors: their sums often lie just between two float32, exactly.
func exact(s, p, d float64) bool { return s-p == d && s-d == p }

// toOdd is p + d rounded to odd: if it is no float64, the one of its two neighbours whose last bit is set.
func toOdd(p, d float64) float64 {
	s := p + d
	t := s - p
	e := (p - (s - t)) + (d - t) // s + e = p + d exactly (Knuth's TwoSum)
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
