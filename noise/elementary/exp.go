package elementary

import "math"

// ln 2 in two parts; the first has 32 bits, so that its product with an exponent is exact.
const (
	ln2Hi = 0x1.62e42feep-1
	ln2Lo = 0x1.a39ef35793c76p-33
	log2E = 0x1.71547652b82fep+0
)

const (
	expOverflow  = 0x1.62e42fefa39efp+9  // the greatest x whose exp is finite
	expUnderflow = -0x1.74910d52d3052p+9 // below it exp rounds to 0
)

// Exp is e^x. NaN gives NaN, +Inf and what overflows +Inf, -Inf and what underflows 0; denormal results are rounded once more.
func Exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > expOverflow:
		return math.Inf(1)
	case x < expUnderflow:
		return 0
	}
	// x = k ln 2 + r with |r| <= ln(2)/2, then e^r = 1 + r + r^2 q(r).
	k := math.Floor(float64(x*log2E) + 0.5)
	r := (x - float64(k*ln2Hi)) - float64(k*ln2Lo)
	y := 1 + (r + float64(float64(r*r)*expQ(r)))
	if k < -1021 || k > 1023 {
		return math.Ldexp(y, int(k))
	}
	return y * math.Float64frombits(uint64(int(k)+1023)<<52)
}

// expQ is (e^r - 1 - r)/r^2 for |r| <= ln(2)/2, within 1.4e-18.
func expQ(r float64) float64 {
	q := 0x1.1f730349868cep-29
	q = float64(q*r) + 0x1.af4de97ca4194p-26
	q = float64(q*r) + 0x1.27e4db646b17ep-22
	q = float64(q*r) + 0x1.71de0231960ebp-19
	q = float64(q*r) + 0x1.a01a01a6d889cp-16
	q = float64(q*r) + 0x1.a01a01abe7fe1p-13
	q = float64(q*r) + 0x1.6c16c16c162d4p-10
	q = float64(q*r) + 0x1.11111111100dcp-7
	q = float64(q*r) + 0x1.5555555555556p-5
	q = float64(q*r) + 0x1.5555555555557p-3
	return float64(q*r) + 0.5
}
