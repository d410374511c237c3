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

// Zeros of both signs and denormals; sums that are ties, or just beside one, or beyond the largest number.
func TestPairs(t *testing.T) {
	from := []uint32{
		0x3f800000, 0x3b800000, 0x3f810000, 0x3b800000, 0x3f800000, 0x3b810000, 0x80000000, 0x80000000, 0x00000000, 0x80000000, 0x00010000, 0x80030000, 0xbf800000, 0x3f810000, 0x7f7f0000, 0x7b800000, 0x7f800000, 0xff800000,
	}
	relu := []uint32{
		0x3f800000, 0x3b800000, 0x3f810000, 0x3b800000, 0x3f800000, 0x3b810000, 0, 0, 0, 0, 0x00010000, 0, 0, 0x3f810000, 0x7f7f0000, 0x7b800000, 0x7f800000, 0,
	}
	sum := []uint32{0x3f800000, 0x3f820000, 0x3f810000, 0x80000000, 0, 0x80020000, 0x3c000000, 0x7f800000, 0x7fff0000}
	var numbers, want []float32
	for i := range from {
		numbers, want = append(numbers, math.Float32frombits(from[i])), append(want, math.Float32frombits(relu[i]))
	}
	nan := math.Float32frombits(0x7fff0000) // what was never written
	want = append(want, nan, nan)
	for _, v := range sum {
		want = append(want, math.Float32frombits(v), math.Float32frombits(v))
	}
	want = append(want, nan, nan)
	n := len(from) + 2
	out := play(t, "", fmt.Sprint("alloc x ", n), fmt.Sprint("alloc y ", 2*n), "put x"+words(numbers), fmt.Sprintf("launch paired 1 %d 0 x y", n), fmt.Sprint("bits y ", 2*n))
	hold(t, bits(t, out, 0), want)
}

func TestRightTensorKernels(t *testing.T) {
	for _, checks := range every {
		out := play(t, "SOFTCUDA_CHECK="+checks,
			"alloc x 256", "alloc y 512", "put x "+upTo(256),
			"launch copied 1 3 96 x y", "get y 24",
			"launch copied_with 1 2 32 x y int:7", "get y 2",
			"launch copied_over 1 2 32 x y int:1", "get y 2",
			"launch loads_unsynced 1 32 0 y int:1", "get y 1",
			"launch loads_of_another_warp 1 64 0 y int:1", "get y 1",
			"launch halves 1 32 0 y", "get y 18",
			"launch aligned 1 1 2 y", "launch aligned 1 1 1000 y", "get y 1",
			"alloc c 2", "put c 0 0", "alloc parts 256",
			"launch grouped 8 32 0 x parts y c int:4 int:31", "get y 2",
			"launch grouped 8 32 0 x parts y c int:4 int:29", "get y 2", // the counters stand at 0 again
			"launch grouped 8 32 0 x parts y c int:4 int:30", "get y 2",
			"launch grouped 8 32 0 x parts y c int:4 int:57", "get y 2",
			"sync")
		for _, want := range []string{
			gave("get", 0, "12.0,11.0,10.0,9.0,8.0,7.0,6.0,5.0,4.0,3.0,2.0,1.0,12.0,11.0,10.0,9.0,0.0,0.0,0.0,0.0,4.0,3.0,2.0,1.0"),
			gave("get", 0, "5.0,1.0") + gave("launch", 0) + gave("get", 0, "5.0,1.0"),
			gave("get", 0, "1.0") + gave("launch", 0) + gave("get", 0, "1.0"),
			gave("get", 0, "16.0,17.0,18.0,19.0,20.0,21.0,22.0,23.0,24.0,25.0,26.0,27.0,28.0,29.0,30.0,31.0,15.0,15.0"),
			gave("launch", 0) + gave("get", 0, "0.0"),
			strings.Repeat(gave("launch", 0)+gave("get", 0, "8256.0,24640.0"), 4), // 128*129/2, and 128*128 more
			gave("sync", 0),
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q with SOFTCUDA_CHECK=%s in\n%s", want, checks, out)
			}
		}
		if strings.Contains(out, "softcuda:") {
			t.Errorf("it finds fault:\n%s", out)
		}
	}
}

// What is missing round a copy shows in its result without any check: NaNs.
func TestCopiesAreLate(t *testing.T) {
	for with, want := range []string{"nan", "nan", "nan", "nan", "nan", "nan", "nan", "5.0"} {
		out := play(t, "", "alloc x 256", "alloc y 2", "put x "+upTo(256), fmt.Sprintf("launch copied_with 1 2 32 x y int:%d", with), "get y 1")
		if !strings.Contains(out, gave("get", 0, want)) {
			t.Errorf("no %s with %03b of barrier, wait and commit in\n%s", want, with, out)
		}
	}
}

func TestFaultyTensorKernels(t *testing.T) {
	const anyChecks, races = " 1 order", "1"
	for _, c := range []struct {
		checks, launch string
		result         int
		want           string
	}{
		{races, "copied_with 1 2 32 x y int:3", launchFailed, "thread (1,0,0): data race: writes byte 16 of the shared array dynamic (32 bytes), which thread (0,0,0) read, and no barrier lies between"},
		{races, "copied_over 1 2 32 x y int:0", launchFailed, "thread (1,0,0): data race: reads byte 0 of the shared array dynamic (32 bytes), which thread (0,0,0) wrote, and no barrier lies between"},
		{races, "copied_under 1 2 32 x y", launchFailed, "thread (1,0,0): data race: reads byte 0 of the shared array dynamic (32 bytes), which thread (0,0,0) wrote, and no barrier lies between"},
		{races, "copied_early 1 2 32 x y", launchFailed, "thread (1,0,0): data race: reads byte 0 of the shared array dynamic (32 bytes), which thread (0,0,0) wrote, and no barrier lies between"},
		{anyChecks, "copied_from_odd 1 1 64 x y int:4", 0, ""},
		{anyChecks, "copied_from_odd 1 1 64 x y int:2", illegalAddress, "takes 16 bytes of shared memory, and is given an address that is no multiple of 16: byte 8 of the shared array dynamic (64 bytes)"},
		{anyChecks, "copied_from_odd 1 1 64 x y int:16", illegalAddress, "takes 16 bytes of shared memory, and is given byte 64, behind the end of the shared array dynamic (64 bytes)"},
		{anyChecks, "copied_from_odd 1 1 4096 x y int:254", illegalAddress, "copy_async at "},
		{anyChecks, "copied_from_odd 1 1 4096 x y int:256", illegalAddress, "copies 16 bytes of device memory at a multiple of 16, and is given byte 1024, behind the end of allocation 1 (1024 bytes)"},
		{anyChecks, "copied_to_device 1 1 0 x y", illegalAddress, "takes 16 bytes of shared memory, and is given byte 0 of allocation 2 (1024 bytes)"},
		{races, "loads_unsynced 1 32 0 y int:0", launchFailed, "data race: reads byte 0 of the shared array tile (512 bytes), which thread (1,0,0) wrote, and no barrier lies between"},
		{races, "loads_of_another_warp 1 64 0 y int:0", launchFailed, "of the shared array tile (1024 bytes), which thread ("},
		{races, "loads_over 1 32 0 y", launchFailed, "data race: writes byte "},
		{anyChecks, "loads_odd 1 32 0 y", illegalAddress, "thread (3,0,0): load_matrices at "},
		{anyChecks, "loads_from_device 1 32 0 x y", illegalAddress, "takes 16 bytes of shared memory, and is given byte 0 of allocation 1 (1024 bytes)"},
		{anyChecks, "loads_behind 1 32 0 y", illegalAddress, "thread (31,0,0): load_matrices at "},
		{anyChecks, "half_a_product 1 32 0 y", launchFailed, "for lanes ffffffff of its warp, and not all of them come"},
		{anyChecks, "half_a_product 1 48 0 y", launchFailed, "which takes a warp of 32 lanes, and this one has 16"},
		{races, "grouped 2 32 0 x y y+256 c int:2 int:28", launchFailed, "which thread (0,0,0) of another block wrote, and no fences and tickets order the two blocks"},
		{races, "grouped 2 32 0 x y y+256 c int:2 int:27", launchFailed, "which thread (0,0,0) of another block wrote, and no fences and tickets order the two blocks"},
		{races, "grouped 2 32 0 x y y+256 c int:2 int:22", launchFailed, "which thread (1,0,0) of another block wrote, and no fences and tickets order the two blocks"},
		{"1,order", "grouped 2 32 0 x y y+256 c int:2 int:21", launchFailed, "of another block wrote, and no fences and tickets order the two blocks"},
		{races, "grouped 2 32 0 x y y+256 c int:2 int:15", launchFailed, "of the shared array last"},
		{races, "fence_of_another 2 32 0 y c", launchFailed, "of another block wrote, and no fences and tickets order the two blocks"},
		{races, "late_part 2 32 0 y c", launchFailed, "of another block wrote, and no fences and tickets order the two blocks"},
		{races, "read_counter 1 2 0 y c", launchFailed, "data race: counts in byte 0 of allocation 3 (4 bytes), which thread (0,0,0) read, and no barrier lies between"},
		{races, "read_counter 2 1 0 y c", launchFailed, "data race: counts in byte 0 of allocation 3 (4 bytes), which thread (0,0,0) of another block read, and nothing orders two blocks"},
		{anyChecks, "shared_and_dynamic 1 32 48000 y", launchFailed, "its shared arrays take 4096 bytes, the launch gives 48000 more, and a block has 49152"},
	} {
		for _, checks := range strings.Split(c.checks, " ") {
			t.Run(strings.ReplaceAll(c.launch, " ", "_")+",SOFTCUDA_CHECK="+checks, func(t *testing.T) {
				out := play(t, "SOFTCUDA_CHECK="+checks, "alloc x 256", "alloc y 256", "alloc c 1", "put c 0", "put x "+upTo(256), "launch "+c.launch, "sync")
				for _, want := range []string{c.want, gave("launch", 0), gave("sync", c.result)} {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in\n%s", want, out)
					}
				}
			})
		}
	}
}

// More than 48 KiB a block has to be allowed, up to what the device has.
func TestMuchSharedMemory(t *testing.T) {
	out := play(t, "", "alloc x 256", "alloc y 256", "put x "+upTo(256),
		"launch dynamic_reversed 1 3 49152 x y", "launch dynamic_reversed 1 3 49156 x y",
		"allow dynamic_reversed 232452", "allow dynamic_reversed 232448", "launch dynamic_reversed 1 3 232448 x y", "get y 3", "launch dynamic_reversed 1 3 232452 x y",
		"allow dynamic_reversed 65536", "launch dynamic_reversed 1 3 65540 x y",
		"allow shared_and_dynamic 232448", "launch shared_and_dynamic 1 32 228352 y", "sync", "launch shared_and_dynamic 1 32 228356 y", "sync")
	for _, want := range []string{
		gave("launch", 0) + gave("launch", invalidValue),
		gave("allow", invalidValue) + gave("allow", 0) + gave("launch", 0) + gave("get", 0, "3.0,2.0,1.0") + gave("launch", invalidValue),
		gave("allow", 0) + gave("launch", invalidValue),
		gave("allow", 0) + gave("launch", 0) + gave("sync", 0),
		"its shared arrays take 4096 bytes, the launch gives 228356 more, and a block has 232448\n",
		gave("sync", launchFailed),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out = play(t, "SOFTCUDA_CAPABILITY=80", "allow dynamic_reversed 166913", "allow dynamic_reversed 166912")
	if want := gave("allow", invalidValue) + gave("allow", 0); !strings.Contains(out, want) {
		t.Errorf("no %q on an older device in\n%s", want, out)
	}
}
