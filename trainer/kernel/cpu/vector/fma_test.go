package vector

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// fmaBig is fma in arithmetic of any precision.
func fmaBig(a, b, c float32) float32 {
	x := float64(a)*float64(b) + float64(c)
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return float32(x) // nothing is rounded here
	}
	const exact = 1024 // bits, from 2^256 down to 2^-298 and more
	sum := new(big.Float).SetPrec(exact).SetFloat64(float64(a))
	sum.Mul(sum, new(big.Float).SetFloat64(float64(b)))
	sum.Add(sum, new(big.Float).SetFloat64(float64(c)))
	y, _ := sum.Float32()
	return y
}

// checkFMA holds fma, and the loops that write it out, to fmaBig.
func checkFMA(t *testing.T, a, b, c float32) {
	t.Helper()
	var x, y line
	fmas(&x, &line{a}, &line{b}, &line{c})
	fmaBy(&y, a, &line{b}, &line{c})
	want := fmaBig(a, b, c)
	for _, got := range []float32{fma(a, b, c), x[0], y[0]} {
		if !same(got, want) {
			t.Fatalf("fma(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
}

func anyBits(r *rand.Rand) float32 { return math.Float32frombits(r.Uint32()) }

func TestFMAIsRoundedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 60_000 {
		a, b := anyBits(r), anyBits(r)
		checkFMA(t, a, b, anyBits(r))
		// A sum of a product and a number of its size, or up to 2^60 smaller or larger.
		checkFMA(t, a, b, float32(math.Ldexp(float64(a)*float64(b)*(1+r.Float64()), r.IntN(121)-60)))
		checkFMA(t, a, b, -a*b)
		checkFMA(t, short(r), short(r), short(r))
		scale := float32(math.Ldexp(1, -60-r.IntN(20))) // to products and sums among the denormals
		checkFMA(t, short(r)*scale, short(r)*scale, short(r)*scale*scale)
		checkFMA(t, float32(r.NormFloat64())*scale, float32(r.NormFloat64())*scale, anyBits(r)*0x1p-100)
	}
	special := []float32{0, 1, 0x1p-149, 0x1p-126, 0x1p-127, 0x1.fffffep-127, 0x1p-75, 0x1p64, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN())}
	for _, a := range special {
		for _, b := range special {
			for _, c := range special {
				for signs := range 8 {
					checkFMA(t, a*float32(1-signs&1*2), b*float32(1-signs&2), c*float32(1-signs&4/2))
				}
			}
		}
	}
}

// A product of a little less than half of c's last bit, plus or minus: in float64 the sum is just between two float32, and its conversion goes to the even one.
func TestFMAWhereTwoRoundingsAreWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range 100_000 {
		i := float64(1 + r.IntN(40))
		exponent := r.IntN(256) // of c; 0 is a denormal's
		c := math.Float32frombits(uint32(exponent)<<23 | r.Uint32()&(1<<23-1)&^uint32(r.IntN(2)))
		half := max(exponent, 1) - 151 // the exponent of half of c's last bit
		a := float32(math.Ldexp(1+i*0x1p-23, half/2))
		b := float32(math.Ldexp(1-i*0x1p-23, half-half/2))
		for _, sign := range []float32{1, -1} {
			checkFMA(t, a, b, sign*c)
			checkFMA(t, -a, b, sign*c)
			if exponent < 255 && float32(float64(a)*float64(b)+float64(c)) != fma(a, b, c) {
				wrong++
			}
		}
	}
	if wrong < 1000 {
		t.Errorf("two roundings were wrong %d times: these are not the numbers meant", wrong)
	}
}
