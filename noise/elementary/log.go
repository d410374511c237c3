package elementary

import "math"

const sqrt2 = 0x1.6a09e667f3bcdp+0

// Log is the natural logarithm of x. NaN and negative x give NaN, 0 and -0 give -Inf, +Inf gives +Inf; denormals are as good as others.
func Log(x float64) float64 {
	switch {
	case x != x || x > math.MaxFloat64:
		return x
	case x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	}
	k := 0.0
	if x < 0x1p-1022 {
		x *= 0x1p52
		k = -52
	}
	// x = 2^k m with m in (sqrt(2)/2, sqrt(2)].
	bits := math.Float64bits(x)
	k += float64(int(bits>>52) - 1023)
	m := math.Float64frombits(bits&(1<<52-1) | 1023<<52)
	if m > sqrt2 {
		m /= 2
		k++
	}
	// With f = m - 1 and s = f/(2+f), log(1+f) = log((1+s)/(1-s)) = 2s + s z R(z), z = s^2; and 2s = f - s f is written so that f, which is
	// exact, is added last: f - (f^2/2 - s (f^2/2 + z R)).
	f := m - 1
	s := f / (2 + f)
	z := float64(s * s)
	h := float64(0.5 * float64(f*f))
	tail := float64(s*(h+float64(z*logR(z)))) + float64(k*ln2Lo)
	return float64(k*ln2Hi) - ((h - tail) - f)
}

// logR is (log((1+s)/(1-s)) - 2s)/(s z) as a function of z = s^2 <= 0.02944, within 3.2e-16.
func logR(z float64) float64 {
	r := 0x1.2b59b713616c9p-3
	r = float64(r*z) + 0x1.39fe42e9740a7p-3
	r = float64(r*z) + 0x1.7462b58e46ebep-3
	r = float64(r*z) + 0x1.c71c62e26208bp-3
	r = float64(r*z) + 0x1.2492492df3ba9p-2
	r = float64(r*z) + 0x1.99999999952ccp-2
	return float64(r*z) + 0x1.5555555555558p-1
}
