package softcudatest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// every is each of softcuda's ways to run a kernel that is right.
var every = []string{"", "1", "order", "late", "1,order,late"}

// bits are what the n-th `bits` of a script printed.
func bits(t *testing.T, out string, n int) []uint32 {
	t.Helper()
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "bits: 0 ") {
			lines = append(lines, strings.TrimPrefix(line, "bits: 0 "))
		}
	}
	if len(lines) <= n || strings.Contains(out, "softcuda:") {
		t.Fatalf("no bits %d, or fault is found, in\n%s", n, out)
	}
	var all []uint32
	for _, word := range strings.Fields(lines[n]) {
		v, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, uint32(v))
	}
	return all
}

// hold says where numbers are not those that they should be, to the bit.
func hold(t *testing.T, got []uint32, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d numbers, not %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i] != math.Float32bits(w) {
			t.Fatalf("element %d is %v (%08x), not %v (%08x)", i, math.Float32frombits(got[i]), got[i], w, math.Float32bits(w))
		}
	}
}

// words are numbers of a `put`, exactly.
func words(numbers []float32) string {
	var b strings.Builder
	for _, v := range numbers {
		fmt.Fprintf(&b, " %x", v)
	}
	return b.String()
}

// brain is n random bf16 numbers, of either sign, whose sums of 17 products are exact in float64.
func brain(r *rand.Rand, n int) []float32 {
	all := make([]float32, n)
	for i := range all {
		all[i] = math.Float32frombits(uint32(r.IntN(2))<<31 | uint32(124+r.IntN(7))<<23 | uint32(r.IntN(128))<<16)
	}
	return all
}

// product is c[16][8] + a[16][16] b[16][8], each by a chain over k.
func product(a, b, c []float32) []float32 {
	d := make([]float32, 16*8)
	for m := range 16 {
		for n := range 8 {
			sum := c[m*8+n]
			for k := range 16 {
				sum = float32(float64(a[m*16+k])*float64(b[k*8+n]) + float64(sum))
			}
			d[m*8+n] = sum
		}
	}
	return d
}

func TestProduct(t *testing.T) {
	for seed, checks := range every {
		r := rand.New(rand.NewPCG(uint64(seed), 0))
		a, b, c := brain(r, 256), brain(r, 128), brain(r, 128)
		out := play(t, "SOFTCUDA_CHECK="+checks, "alloc a 256", "alloc b 128", "alloc c 128", "alloc d 512", "put a"+words(a), "put b"+words(b), "put c"+words(c),
			"launch product 1 32 0 a b c d", "bits d 128", "launch product_of_tiles 1 32 0 a b d", "bits d 512", "sync")
		hold(t, bits(t, out, 0), product(a, b, c))
		plain := product(a, b, make([]float32, 128))
		for way := range 4 {
			hold(t, bits(t, out, 1)[way*128:(way+1)*128], plain)
		}
	}
}

func TestLoads(t *testing.T) {
	for seed, checks := range every {
		x := brain(rand.New(rand.NewPCG(uint64(seed), 1)), 256)
		var want []float32
		// Lane 8i+j names row 31-8i-j of all: the matrices and their rows stand on their heads.
		at := func(matrix, row, column int) float32 { return x[(31-8*matrix-row)*8+column] }
		for _, n := range []int{4, 2} {
			for _, transposed := range []bool{false, true} {
				for i := range n {
					for lane := range 32 {
						for half := range 2 {
							row, column := lane/4, lane%4*2+half
							if transposed {
								row, column = column, row
							}
							want = append(want, at(i, row, column))
						}
					}
				}
			}
		}
		out := play(t, "SOFTCUDA_CHECK="+checks, "alloc x 256", "alloc y 768", "put x"+words(x), "launch loads 1 32 0 x y", "bits y 768", "sync")
		hold(t, bits(t, out, 0), want)
	}
}

// To nearest, ties to even, beyond the largest to infinity; denormals too.
func TestRounded(t *testing.T) {
	from := []uint32{
		0x3f800000, 0x3f808000, 0x3f808001, 0x3f818000, 0x3f817fff, 0xbf808000, 0xbf818000, 0x7f7f7fff, 0x7f7f8000, 0xff7fffff,
		0x7f800000, 0xff800000, 0x00000000, 0x80000000, 0x00008000, 0x00008001, 0x00018000, 0x807fffff,
	}
	to := []uint32{
		0x3f800000, 0x3f800000, 0x3f810000, 0x3f820000, 0x3f810000, 0xbf800000, 0xbf820000, 0x7f7f0000, 0x7f800000, 0xff800000,
		0x7f800000, 0xff800000, 0x00000000, 0x80000000, 0x00000000, 0x00010000, 0x00020000, 0x80800000,
	}
	var numbers, want []float32
	for i := range from {
		numbers, want = append(numbers, math.Float32frombits(from[i])), append(want, math.Float32frombits(to[i]))
	}
	// What was never written is a NaN, and so stands behind them.
	want = append(want, math.Float32frombits(0x7fff0000), math.Float32frombits(0x7fff0000))
	n := len(want)
	out := play(t, "", fmt.Sprint("alloc x ", n), fmt.Sprint("alloc y ", n), "put x"+words(numbers), fmt.Sprintf("launch rounded 1 %d 0 x y", n), fmt.Sprint("bits y ", n))
	hold(t, bits(t, out, 0), want)
}
