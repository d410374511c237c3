package elementary

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

const precision = 220 // bits of the reference

func toBig(x float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(x) }
func zero() *big.Float           { return new(big.Float).SetPrec(precision) }

// bigExp is e^x by its series at x/2^20, squared 20 times.
func bigExp(x *big.Float) *big.Float {
	r := zero().SetMantExp(x, -20)
	sum, term := toBig(1), toBig(1)
	for n := 1; n < 40; n++ {
		term.Quo(zero().Mul(term, r), toBig(float64(n)))
		sum.Add(sum, term)
	}
	for range 20 {
		sum.Mul(sum, sum)
	}
	return sum
}

// bigLog is ln x: near is close to it, so what is lacking is the series of ln(x e^-near).
func bigLog(x, near float64) *big.Float {
	d := zero().Mul(toBig(x), bigExp(toBig(-near)))
	d.Sub(d, toBig(1))
	sum, power := toBig(near), toBig(1)
	for n := 1; n < 8; n++ {
		power.Mul(power, d)
		term := zero().Quo(power, toBig(float64(n)))
		if n%2 == 0 {
			term.Neg(term)
		}
		sum.Add(sum, term)
	}
	return sum
}

// bigSinCos2Pi is the sine and cosine of 2 pi u by their series.
func bigSinCos2Pi(u float64) (sin, cos *big.Float) {
	pi, _ := zero().SetString("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
	x := zero().Mul(zero().Mul(toBig(2), pi), toBig(u))
	sin, cos = zero(), zero()
	term := toBig(1)
	for n := range 64 {
		part := zero().Set(term)
		if n&2 != 0 {
			part.Neg(part)
		}
		if n&1 == 0 {
			cos.Add(cos, part)
		} else {
			sin.Add(sin, part)
		}
		term.Quo(zero().Mul(term, x), toBig(float64(n+1)))
	}
	return sin, cos
}

// ulps is |got - want| in units in the last place of want.
func ulps(got float64, want *big.Float) float64 {
	unit := toBig(math.SmallestNonzeroFloat64)
	if e := want.MantExp(nil) - 53; want.Sign() != 0 && e > -1074 {
		unit = zero().SetMantExp(toBig(1), e)
	}
	d := zero().Sub(toBig(got), want)
	f, _ := d.Quo(d.Abs(d), unit).Float64()
	return f
}

// within runs f over n points and reports the worst error, in units in the last place.
func within(t *testing.T, name string, n int, f func(i int) (x, err float64)) {
	t.Helper()
	worst, where := 0.0, 0.0
	for i := range n {
		if x, e := f(i); !(e <= worst) {
			worst, where = e, x
		}
	}
	if !(worst < 2) {
		t.Errorf("%s(%v) is %v units in the last place off, want < 2", name, where, worst)
	}
	t.Logf("%s: worst error %.3f units in the last place, at %v (%d points)", name, worst, where, n)
}

func TestExpAgainstExactSeries(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	within(t, "Exp", 6000, func(i int) (float64, float64) {
		x := []float64{r.NormFloat64(), -100 * r.Float64(), 1450*r.Float64() - 742, (r.Float64() - 0.5) * math.Ln2 * 1.00001, math.Ldexp(r.NormFloat64(), -r.IntN(60)),
			math.Ln2 * (float64(r.IntN(2000)-1000) + 0.5)}[i%6]
		if x > expOverflow {
			x = expOverflow
		}
		return x, ulps(Exp(x), bigExp(toBig(x)))
	})
}

func TestLogAgainstExactSeries(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	within(t, "Log", 6000, func(i int) (float64, float64) {
		x := []float64{r.Float64(), 1 + math.Ldexp(r.NormFloat64(), -4-r.IntN(50)), math.Float64frombits(r.Uint64() >> 1 % (0x7ff << 52)),
			(float64(r.Uint32()) + 0.5) * 0x1p-32, math.SmallestNonzeroFloat64 * float64(1+r.IntN(1<<30)), sqrt2 * (1 + 1e-6*(r.Float64()-0.5))}[i%6]
		return x, ulps(Log(x), bigLog(x, Log(x)))
	})
}

func TestSinCos2PiAgainstExactSeries(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	points := make([]float64, 4000)
	for i := range points {
		points[i] = []float64{r.Float64(), float64(r.Uint32()) * 0x1p-32, math.Ldexp(r.Float64(), -r.IntN(1000)), (float64(r.IntN(7)+1) + 1e-3*(r.Float64()-0.5)) / 8}[i%4]
	}
	offCos := make([]float64, len(points))
	within(t, "sin", len(points), func(i int) (float64, float64) {
		sin, cos := SinCos2Pi(points[i])
		wantSin, wantCos := bigSinCos2Pi(points[i])
		offCos[i] = ulps(cos, wantCos)
		return points[i], ulps(sin, wantSin)
	})
	within(t, "cos", len(points), func(i int) (float64, float64) { return points[i], offCos[i] })
}

// A second opinion on many more points: math is itself within a unit or so.
func TestCloseToMath(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	check := func(name string, x, got, want float64) {
		if e := ulps(got, toBig(want)); !(e < 3) {
			t.Fatalf("%s(%v) = %v, %v units in the last place from math's %v", name, x, got, e, want)
		}
	}
	for range 100000 {
		x := 700 * (2*r.Float64() - 1)
		check("Exp", x, Exp(x), math.Exp(x))
		x = math.Ldexp(r.Float64()+0.5, r.IntN(2000)-1000)
		check("Log", x, Log(x), math.Log(x))
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	smallest := math.SmallestNonzeroFloat64
	sin := func(u float64) float64 { s, _ := SinCos2Pi(u); return s }
	cos := func(u float64) float64 { _, c := SinCos2Pi(u); return c }
	for _, v := range []struct {
		name      string
		got, want float64
	}{
		{"Exp(0)", Exp(0), 1}, {"Exp(-0)", Exp(math.Copysign(0, -1)), 1}, {"Exp(smallest)", Exp(smallest), 1},
		{"Exp(+Inf)", Exp(inf), inf}, {"Exp(-Inf)", Exp(-inf), 0}, {"Exp(NaN)", Exp(nan), nan},
		{"Exp(just over)", Exp(math.Nextafter(expOverflow, inf)), inf}, {"Exp(just under)", Exp(math.Nextafter(expUnderflow, -inf)), 0},
		{"Exp(-745)", Exp(-745), smallest}, {"Exp(max)", Exp(math.MaxFloat64), inf}, {"Exp(-max)", Exp(-math.MaxFloat64), 0},
		{"Log(1)", Log(1), 0}, {"Log(0)", Log(0), -inf}, {"Log(-0)", Log(math.Copysign(0, -1)), -inf}, {"Log(-1)", Log(-1), nan},
		{"Log(-Inf)", Log(-inf), nan}, {"Log(+Inf)", Log(inf), inf}, {"Log(NaN)", Log(nan), nan}, {"Log(2)", Log(2), math.Ln2},
		{"sin 0", sin(0), 0}, {"sin 1/4", sin(0.25), 1}, {"sin 1/2", sin(0.5), 0}, {"sin 3/4", sin(0.75), -1},
		{"cos 0", cos(0), 1}, {"cos 1/4", cos(0.25), 0}, {"cos 1/2", cos(0.5), -1}, {"cos 3/4", cos(0.75), 0}, {"cos smallest", cos(smallest), 1},
		{"sin 1", sin(1), nan}, {"cos 1", cos(1), nan}, {"sin below 0", sin(-smallest), nan}, {"sin Inf", sin(inf), nan}, {"cos NaN", cos(nan), nan},
	} {
		if v.got != v.want && !(v.got != v.got && v.want != v.want) {
			t.Errorf("%s = %v, want %v", v.name, v.got, v.want)
		}
	}
	if x := Exp(expOverflow); math.IsInf(x, 0) {
		t.Errorf("Exp(%v) = %v, want a finite number", expOverflow, x)
	}
}

// The bits themselves: a platform, compiler or flag (GOAMD64=v3) that changes one fails here. A new value is a new version of every arithmetic.
func TestBits(t *testing.T) {
	h := sha256.New()
	put := func(xs ...float64) {
		for _, x := range xs {
			h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)))
		}
	}
	r := rand.New(rand.NewPCG(5, 5))
	for range 50000 {
		put(Exp(float64(1450*r.Float64())-742), Exp(10*(r.Float64()-0.5)), Log(math.Float64frombits(r.Uint64()>>1%(0x7ff<<52))), Log(2*r.Float64()))
		put(SinCos2Pi(r.Float64()))
		n := Normals([4]uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()})
		put(n[:]...)
	}
	const want = "facfe18594903de30c8b407e0aa01f2b88c25fabe8bb0e980b23aeb5e9c42d4b"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("results hash to %s, want %s", got, want)
	}
}

// The extreme words give finite numbers, and no number is beyond what the comment says.
func TestNormalsAtTheEnds(t *testing.T) {
	for _, b := range [][4]uint32{{}, {0, 1 << 31}, {0xffffffff, 0, 0, 0}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0, 1 << 30, 0, 3 << 30}} {
		for _, x := range Normals(b) {
			if !(math.Abs(x) <= 6.77) {
				t.Errorf("Normals(%x) holds %v", b, x)
			}
		}
	}
	if got, want := Normals([4]uint32{})[0], math.Sqrt(-2*math.Log(0x1p-33)); math.Abs(got-want) > 1e-14 {
		t.Errorf("Normals(0)[0] = %v, want %v", got, want)
	}
}

func BenchmarkExp(b *testing.B) {
	var s float64
	for i := range b.N {
		s += Exp(float64(i&1023)*-0.01 + 1)
	}
	sink = s
}

func BenchmarkNormals(b *testing.B) {
	var s float64
	for i := range b.N {
		s += Normals([4]uint32{uint32(i) * 2654435761, uint32(i) * 40503, uint32(i) * 69069, uint32(i) * 1103515245})[0]
	}
	sink = s
}

var sink float64
