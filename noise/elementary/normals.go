package elementary

import "math"

// Normals turns 128 random bits into four independent standard normal numbers (Box and Muller 1958): words 0 and 1 give the first two, words
// 2 and 3 the others. Of a pair (w, v): r = sqrt(-2 log((w + 1/2)/2^32)), angle 2 pi v/2^32, numbers r cos, r sin. No |number| exceeds 6.77.
func Normals(b [4]uint32) [4]float64 {
	x0, x1 := boxMuller(b[0], b[1])
	x2, x3 := boxMuller(b[2], b[3])
	return [4]float64{x0, x1, x2, x3}
}

func boxMuller(w, v uint32) (float64, float64) {
	r := math.Sqrt(-2 * Log((float64(w)+0.5)*0x1p-32))
	sin, cos := SinCos2Pi(float64(v) * 0x1p-32)
	return float64(r * cos), float64(r * sin)
}
