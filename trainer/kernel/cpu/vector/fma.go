package vector

import "math"

// fma is a*b + c, rounded once. The product of two float32 is exact in float64, and their sum with a third is rounded to 53 bits; the conversion to 24 bits rounds a second time, which matters
// only where the float64 lies right between two float32, or near denormals.
func fma(a, b, c float32) float32 {
	s := float64(a)*float64(b) + float64(c)
	if doubtful(math.Float64bits(s)) {
		return fmaOdd(float64(a)*float64(b), float64(c))
	}
	return float32(s)
}

// doubtful says whether the conversion of a float64 with these bits may round a second time: halfway between two float32, or below the normal ones and not 0.
func doubtful(bits uint64) bool {
	return bits&0x1FFFFFFF == 0x10000000 || (bits<<1)-1 < 897<<53-1
}

// fmaOdd is p + c, rounded once to float32: the float64 sum is rounded to odd first (Boldo and Melquiond 2008), by its exact error (Knuth's TwoSum).
//
//go:noinline
func fmaOdd(p, c float64) float32 {
	s := p + c
	t := s - p
	off := float64(p-float64(s-t)) + float64(c-t)
	if bits := math.Float64bits(s); off != 0 && bits&1 == 0 && off == off {
		if (off > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
