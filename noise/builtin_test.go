package noise

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// millionDraws perturbs 100,000 samples of 10 classes with the same row of logits and hands each class's results to f.
func millionDraws(t *testing.T, n Noise, row []float32, f func(class int, ys []float64)) {
	const samples = 100000
	ids, logits := make([]uint32, samples), make([]float32, 0, samples*len(row))
	for i := range ids {
		ids[i] = uint32(i)
		logits = append(logits, row...)
	}
	out := perturb(t, n, 2026, 3, ids, logits)
	for l := range row {
		ys := make([]float64, samples)
		for i := range ys {
			ys[i] = float64(out[i*len(row)+l])
		}
		f(l, ys)
	}
}

var row10 = []float32{-2, 0.5, 7, 0, -1.25, 3, 3, -8, 1, 0.25}

func TestGaussianMoments(t *testing.T) {
	const sigma2 = 2.25
	var all []float64
	millionDraws(t, typed(t, "gaussian:sigma2=2.25"), row10, func(class int, ys []float64) {
		m := momentsOf(ys)
		if z := off(m.mean-float64(row10[class]), math.Sqrt(sigma2/m.n)); z > 4 {
			t.Errorf("class %d: mean %v, want %v: %.1f standard errors", class, m.mean, row10[class], z)
		}
		if z := off(m.second-sigma2, sigma2*math.Sqrt(2/m.n)); z > 4 {
			t.Errorf("class %d: variance %v, want %v: %.1f standard errors", class, m.second, sigma2, z)
		}
		for _, y := range ys {
			all = append(all, y-float64(row10[class]))
		}
	})
	m := momentsOf(all)
	third := 0.0
	for _, x := range all {
		third += x * x * x / m.n
	}
	for _, v := range []struct {
		what        string
		got, want   float64
		standardErr float64
	}{
		{"mean", m.mean, 0, math.Sqrt(sigma2 / m.n)},
		{"variance", m.second, sigma2, sigma2 * math.Sqrt(2/m.n)},
		{"third moment", third, 0, math.Pow(sigma2, 1.5) * math.Sqrt(15/m.n)},
		{"fourth moment", m.fourth, 3 * sigma2 * sigma2, sigma2 * sigma2 * math.Sqrt(96/m.n)},
	} {
		z := off(v.got-v.want, v.standardErr)
		t.Logf("%s of %.0f draws: %.6f, want %.6f, %.2f standard errors", v.what, m.n, v.got, v.want, z)
		if z > 4 {
			t.Errorf("%s is %.1f standard errors off", v.what, z)
		}
	}
	// Tails, where a poor uniform would show: P(|z| > 3) = 0.0026998.
	beyond := 0.0
	for _, x := range all {
		if math.Abs(x) > 3*1.5 {
			beyond++
		}
	}
	const tail = 0.0026997960632601866
	if z := off(beyond-m.n*tail, math.Sqrt(m.n*tail)); z > 4 {
		t.Errorf("%v of %v draws lie beyond 3 standard deviations, want %v: %.1f standard errors", beyond, m.n, m.n*tail, z)
	}
}

func TestSymmetricMoments(t *testing.T) {
	for _, s := range []string{"symmetric:p=0.3", "symmetric:p=1", "symmetric:p=0.05"} {
		n := typed(t, s).(symmetric)
		millionDraws(t, n, row10, func(class int, ys []float64) {
			mean, square := eq21(n.p, row10, class)
			m := momentsOf(ys)
			if z := off(m.mean-mean, math.Sqrt((square-mean*mean)/m.n)); z > 4 {
				t.Errorf("%s, class %d: mean %v, Eq. 21 says %v: %.1f standard errors", s, class, m.mean, mean, z)
			}
			// Each other logit is taken by p/(L-1) of the draws.
			for _, y := range row10 {
				share := 0.0
				for other, x := range row10 {
					switch {
					case x == y && other == class:
						share += 1 - n.p
					case x == y:
						share += n.p / 9
					}
				}
				taken := 0.0
				for _, got := range ys {
					if got == float64(y) {
						taken++
					}
				}
				if z := off(taken-m.n*share, math.Sqrt(m.n*share*(1-share))); z > 4 {
					t.Errorf("%s, class %d: %v is taken %v times of %v, want %v: %.1f standard errors", s, class, y, taken, m.n, m.n*share, z)
				}
			}
		})
	}
}

// eq21 is E[y~] = (1-p) y_l + p/(L-1) sum_{m != l} y_m, and the mean of the squares.
func eq21(p float64, row []float32, l int) (mean, square float64) {
	for m, y := range row {
		weight := 1 - p
		if m != l {
			weight = p / float64(len(row)-1)
		}
		mean += weight * float64(y)
		square += weight * float64(y) * float64(y)
	}
	return mean, square
}

// With p = 3/8 and L = 5, 8 equal parts of the words that decide and 4 of the words that choose are a whole population: the mean over it is Eq. 21
// exactly, not within an error.
func TestSymmetricExpectationExactly(t *testing.T) {
	row := []float32{-16, 2, 40, 8, 1}
	s := symmetric{p: 0.375}
	for l := range row {
		sum := 0.0
		for decide := range 8 {
			for choose := range 4 {
				for _, low := range []uint32{0, 0xffffffff} { // both ends of each part
					end := low >> 3
					w := [4]uint32{low, uint32(decide)<<29 | end, low, uint32(choose)<<30 | low>>2}
					sum += float64(row[s.source(w, l, len(row))])
				}
			}
		}
		if want, _ := eq21(s.p, row, l); sum/64 != want {
			t.Errorf("class %d: the mean over all draws is %v, Eq. 21 says %v", l, sum/64, want)
		}
	}
}

func TestSymmetricEnds(t *testing.T) {
	never, always := symmetric{p: 0}, symmetric{p: 1}
	for _, w := range [][4]uint32{{}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}} {
		for l := range 3 {
			if got := never.source(w, l, 3); got != l {
				t.Errorf("p=0: class %d takes %d", l, got)
			}
			if got := always.source(w, l, 3); got == l || got < 0 || got > 2 {
				t.Errorf("p=1: class %d takes %d", l, got)
			}
		}
	}
	if err := always.Perturb(context.Background(), 1, 1, []uint32{4}, []float32{1}, []float32{0}); !errors.Is(err, ErrRequest) {
		t.Errorf("one class: %v, want ErrRequest", err)
	}
}

// The layout of docs/random.md, computed apart from the loops.
func TestGaussianLayout(t *testing.T) {
	const seed, iteration, sd = 0xfedcba9876543210, 9, 0.5
	logits := make([]float32, 2*11)
	for i := range logits {
		logits[i] = float32(i) * 0.37
	}
	samples := []uint32{5, 4000000000}
	out := perturb(t, typed(t, "gaussian:sigma2=0.25"), seed, iteration, samples, logits)
	for i, sample := range samples {
		for l := range 11 {
			z := elementary.Normals(philox.Block([2]uint32{0x76543210, 0xfedcba98}, [4]uint32{uint32(l / 4), sample, iteration, 4}))[l%4]
			if want := float32(float64(logits[i*11+l]) + float64(sd*z)); out[i*11+l] != want {
				t.Errorf("sample %d, class %d: %v, want %v", sample, l, out[i*11+l], want)
			}
		}
	}
}

func TestNoneLeavesLogits(t *testing.T) {
	logits := []float32{1, -2, 3, float32(math.Copysign(0, -1)), 1e-45, math.MaxFloat32}
	if out := perturb(t, typed(t, "none"), 1, 1, []uint32{8, 9}, logits); !slices.Equal(out, logits) {
		t.Errorf("none made %v of %v", out, logits)
	}
}

// A draw is the same whatever batch it came in, in place or not, and another seed, iteration or sample gives another.
func TestDrawsDoNotDependOnTheBatch(t *testing.T) {
	for _, s := range []string{"none", "gaussian:sigma2=0.7", "symmetric:p=0.5"} {
		n := typed(t, s)
		rapid.Check(t, func(t *rapid.T) {
			classes := rapid.IntRange(2, 150).Draw(t, "classes")
			samples := rapid.SliceOfNDistinct(rapid.Uint32(), 2, 12, rapid.ID).Draw(t, "samples")
			seed, k := rapid.Uint64().Draw(t, "seed"), rapid.Uint32().Draw(t, "iteration")
			logits := make([]float32, len(samples)*classes)
			for i := range logits {
				logits[i] = float32(i%classes) - 0.1*float32(i/classes)
			}
			whole := make([]float32, len(logits))
			check := func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			}
			check(n.Perturb(context.Background(), seed, k, samples, logits, whole))
			place := rapid.IntRange(0, len(samples)-1).Draw(t, "place")
			alone := slices.Clone(logits[place*classes : (place+1)*classes])
			check(n.Perturb(context.Background(), seed, k, samples[place:place+1], alone, alone))
			if !slices.Equal(alone, whole[place*classes:(place+1)*classes]) {
				t.Fatalf("sample %d alone got %v, in the batch %v", samples[place], alone, whole[place*classes:(place+1)*classes])
			}
		})
	}
}

func TestAnotherSeedIterationOrSampleIsAnotherDraw(t *testing.T) {
	for _, s := range []string{"gaussian:sigma2=1", "symmetric:p=0.5"} {
		n := typed(t, s)
		logits := make([]float32, 100)
		for i := range logits {
			logits[i] = float32(i)
		}
		first := perturb(t, n, 1, 1, []uint32{1}, logits)
		for what, other := range map[string][]float32{
			"seed": perturb(t, n, 2, 1, []uint32{1}, logits), "high word of the seed": perturb(t, n, 1|1<<32, 1, []uint32{1}, logits),
			"iteration": perturb(t, n, 1, 2, []uint32{1}, logits), "once": perturb(t, n, 1, 0, []uint32{1}, logits), "sample": perturb(t, n, 1, 1, []uint32{2}, logits),
		} {
			if slices.Equal(first, other) {
				t.Errorf("%s: another %s gives the same draw", s, what)
			}
		}
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, s := range []string{"none", "gaussian:sigma2=1", "symmetric:p=0.3", "service:127.0.0.1:1"} {
		n := typed(t, s)
		defer n.Close()
		for _, v := range []struct {
			what    string
			samples []uint32
			logits  []float32
			room    int
			want    string
		}{
			{"no whole number of rows", []uint32{1, 2}, make([]float32, 5), 5, "5 logits for 2 samples"},
			{"no logits", []uint32{1, 2}, nil, 0, "0 logits for 2 samples"},
			{"no samples", nil, make([]float32, 5), 5, "5 logits for 0 samples"},
			{"too little room", []uint32{1}, make([]float32, 5), 4, "5 logits and room for 4"},
			{"NaN", []uint32{70, 80}, []float32{0, 0, nan, 0}, 4, "the logit of sample 80, class 0 is NaN"},
			{"infinity", []uint32{70, 80}, []float32{0, inf, 0, 0}, 4, "the logit of sample 70, class 1 is -Inf"},
		} {
			err := n.Perturb(context.Background(), 1, 1, v.samples, v.logits, make([]float32, v.room))
			if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%s, %s: %v, want ErrRequest with %q", s, v.what, err, v.want)
			}
		}
		if err := n.Perturb(context.Background(), 1, 1, nil, nil, nil); err != nil {
			t.Errorf("%s, nothing asked: %v", s, err)
		}
	}
	err := typed(t, "gaussian:sigma2=1e75").Perturb(context.Background(), 1, 1, []uint32{6}, []float32{math.MaxFloat32, -math.MaxFloat32, math.MaxFloat32, -math.MaxFloat32}, make([]float32, 4))
	if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "leaves float32: take a smaller sigma2") {
		t.Errorf("logits that leave float32: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	samples, logits := make([]uint32, 64), make([]float32, 64*100)
	for _, s := range []string{"none", "gaussian:sigma2=1", "symmetric:p=0.3"} {
		n := typed(t, s)
		if got := testing.AllocsPerRun(5, func() { _ = n.Perturb(context.Background(), 1, 1, samples, logits, logits) }); got > 0 {
			t.Errorf("%s: %v allocations a batch, want none", s, got)
		}
	}
}

func BenchmarkPerturb(b *testing.B) {
	samples, logits, out := make([]uint32, 64), make([]float32, 640), make([]float32, 640)
	for _, s := range []string{"gaussian:sigma2=1", "symmetric:p=0.3"} {
		n := typed(b, s)
		b.Run(s, func(b *testing.B) {
			for b.Loop() {
				if err := n.Perturb(context.Background(), 1, 1, samples, logits, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
