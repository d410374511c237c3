package elementary

import "math"

// SinCos2Pi is the sine and cosine of 2 pi u for u in [0, 1), which it takes as it is: no rounded multiple of pi is reduced, and quarter turns
// are exact. Anything else, infinite and NaN too, gives NaN twice.
func SinCos2Pi(u float64) (sin, cos float64) {
	if !(u >= 0 && u < 1) {
		return math.NaN(), math.NaN()
	}
	// u = q/4 + t with |t| <= 1/8, t exact.
	q := int(float64(4*u) + 0.5)
	t := u - float64(float64(q)/4)
	s, c := sinCosEighth(t)
	switch q & 3 {
	case 1:
		return c, 0 - s
	case 2:
		return 0 - s, -c
	case 3:
		return -c, s
	}
	return s, c
}

// 2 pi and 2 pi^2, each as a float64 and what it lacks.
const (
	twoPiHi        = 0x1.921fb54442d18p+2
	twoPiLo        = 0x1.1a62633145c07p-52
	twoPiSquaredHi = 0x1.3bd3cc9be45dep+4
	twoPiSquaredLo = 0x1.692b71366cc04p-50
)

// sinCosEighth is SinCos2Pi for |t| <= 1/8: sin = 2 pi t + t z S(z), cos = 1 - 2 pi^2 z + z^2 C(z), z = t^2.
func sinCosEighth(t float64) (sin, cos float64) {
	z := float64(t * t)
	sin = float64(twoPiHi*t) + float64(t*(twoPiLo+float64(z*sinS(z))))
	cos = 1 - (float64(twoPiSquaredHi*z) + float64(z*(twoPiSquaredLo-float64(z*cosC(z)))))
	return sin, cos
}

// sinS is (sin(2 pi t) - 2 pi t)/t^3 as a function of z = t^2 <= 1/64, within 2.9e-18.
func sinS(z float64) float64 {
	s := -0x1.6cc564dff8a7ap-1
	s = float64(s*z) + 0x1.e8f036889ff68p+1
	s = float64(s*z) - 0x1.e3074d25df4e9p+3
	s = float64(s*z) + 0x1.50783486fab1cp+5
	s = float64(s*z) - 0x1.32d2cce62b872p+6
	s = float64(s*z) + 0x1.466bc6775aae1p+6
	return float64(s*z) - 0x1.4abbce625be53p+5
}

// cosC is (cos(2 pi t) - 1 + 2 pi^2 z)/z^2 as a function of z = t^2 <= 1/64, within 2e-15.
func cosC(z float64) float64 {
	c := -0x1.b3832af2a4f71p+0
	c = float64(c*z) + 0x1.f9cfc045b083cp+2
	c = float64(c*z) - 0x1.a6d1f0ab527ebp+4
	c = float64(c*z) + 0x1.e1f5068830144p+5
	c = float64(c*z) - 0x1.55d3c7e3cbd74p+6
	return float64(c*z) + 0x1.03c1f081b5ac4p+6
}
