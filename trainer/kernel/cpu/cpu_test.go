package cpu

import (
	"errors"
	"flag"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func threads(t testing.TB, n int) kernel.Set { return open(t, Options{Threads: n}) }

func open(t testing.TB, o Options) kernel.Set {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every set passes the suite, and has the bits of plain Go on one thread and of every other set.
func TestSuite(t *testing.T) {
	set := open(t, Options{Threads: 2, Kernels: "generic"})
	defer set.Close()
	var variants []func() kernel.Set
	variant := func(name string, threads int) {
		variants = append(variants, func() kernel.Set { return open(t, Options{Threads: threads, Kernels: name}) })
	}
	names := Available()
	for _, name := range names[1:] {
		variant(name, 2)
	}
	fastest := names[len(names)-1]
	variant(fastest, 1)
	variant(fastest, 3)
	kerneltest.Run(t, set, kerneltest.Options{Seed: 1, Variants: variants})
}

func TestTheFastestSetIsTaken(t *testing.T) {
	set := threads(t, 1)
	defer set.Close()
	names := Available()
	if set.Name() != names[len(names)-1] {
		t.Errorf("auto takes %s of %v", set.Name(), names)
	}
}

func TestNewRefusesKernelsThatAreNotHere(t *testing.T) {
	for _, name := range append([]string{"sse9"}, Names()...) {
		set, err := New(Options{Threads: 1, Kernels: name})
		switch here := slices.Contains(Available(), name); {
		case here && err != nil:
			t.Errorf("%s is here and refused: %v", name, err)
		case !here && !errors.Is(err, kernel.ErrUnsupported):
			t.Errorf("%s is not here and gives the error %v", name, err)
		case here:
			set.Close()
		}
	}
}

var update = flag.Bool("update", false, "write the fingerprints of the arithmetic: only together with a new version of it")

// The bits of cpu/2 are written down: a build that fuses products and sums, or a change of an order, shows here.
func TestFingerprints(t *testing.T) {
	const file = "testdata/cpu-2.txt"
	for _, name := range Available() {
		t.Run(name, func(t *testing.T) { fingerprints(t, open(t, Options{Threads: 2, Kernels: name}), file) })
	}
}

func fingerprints(t *testing.T, set kernel.Set, file string) {
	defer set.Close()
	got := strings.Join(kerneltest.Fingerprints(t, set), "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(wanted) || line != wanted[i] {
			t.Errorf("%s: bits of %s have changed, which is a new version of the arithmetic", line, set.Arithmetic())
		}
	}
}

func TestNewRefusesNegativeThreads(t *testing.T) {
	if _, err := New(Options{Threads: -1}); err == nil || !strings.Contains(err.Error(), "-1 threads") {
		t.Errorf("New with -1 threads gave the error %v", err)
	}
}

// run launches op on args; an arg is written before and read back after.
func run(t *testing.T, set kernel.Set, op kernel.Op, args ...[]float32) {
	t.Helper()
	k, err := set.Prepare(op)
	if err != nil {
		t.Fatal(err)
	}
	s := set.NewStream()
	memory := make([]kernel.Memory, len(args))
	if n := k.Workspace(); n > 0 {
		memory = append(memory, nil)
		args = append(args, make([]float32, n))
	}
	for i, a := range args {
		if memory[i], err = set.Alloc(kernel.Real, len(a)); err != nil {
			t.Fatal(err)
		}
		s.Write(memory[i], a)
	}
	k.Launch(s, memory)
	for i, a := range args {
		s.Read(a, memory[i])
	}
}

// 40 images are 5 blocks, each with one number that is not 0: the tree over blocks ((1e8 + 1) + (-1e8 + 1)) + 1 is 1; a chain would give 2.
func TestSumsOverImagesAreTheTreeOverBlocks(t *testing.T) {
	set := threads(t, 2)
	defer set.Close()
	v, ones := make([]float32, 40), make([]float32, 40)
	for i, x := range []float32{1e8, 1, -1e8, 1, 1} {
		v[8*i+i] = x
	}
	for i := range ones {
		ones[i] = 1
	}
	blocked := func(v []float32) []float32 { // a channel in a block of its own
		b := make([]float32, len(v)*lanes)
		for i, x := range v {
			b[i*lanes] = x
		}
		return b
	}
	shape := kernel.Op{Groups: 1, N: 40, C: 1, H: 1, W: 1, K: 1}
	for kind, args := range map[kernel.Kind][][]float32{
		kernel.LinearBiasGrad:   {v, nil},
		kernel.LinearWeightGrad: {ones, v, nil},
		kernel.ConvWeightGrad:   {blocked(v), blocked(ones), nil},
		kernel.NormSums:         {blocked(v), {0}, nil},
	} {
		op := shape
		op.Kind = kind
		if len(args[0]) > 40 {
			op.Block = lanes
		}
		if kind == kernel.ConvWeightGrad {
			op.R, op.Stride = 1, 1
		}
		sum := make([]float32, 2)
		args[len(args)-1] = sum
		run(t, set, op, args...)
		if sum[0] != 1 {
			t.Errorf("%v over 5 blocks sums to %v, want 1", kind, sum[0])
		}
	}
}

// Lanes are added by halves: with 1e8 in lane 0, 1 in lane 8 is lost at once, and -1e8 in lane 4 meets the 1 of lane 12 first.
func TestLanesAreAddedByHalves(t *testing.T) {
	l := [lanes]float32{0: 1e8, 8: 1, 4: -1e8, 12: 1, 1: 1}
	if got := byHalves(l[:]); got != 1 {
		t.Errorf("total is %v, want 1", got)
	}
}

func TestReLUKeepsEveryBitThatIsNotBelowZero(t *testing.T) {
	set := threads(t, 1)
	defer set.Close()
	bits := func(b uint32) float32 { return math.Float32frombits(b) }
	negativeZero := bits(1 << 31)
	x := []float32{0, negativeZero, bits(1), bits(1<<31 | 1), 3, -3, bits(0x7F800000), bits(0xFF800000), bits(0x7FC00000), bits(0xFFC00000), -math.MaxFloat32}
	want := []float32{0, negativeZero, bits(1), 0, 3, 0, bits(0x7F800000), 0, bits(0x7FC00000), bits(0xFFC00000), 0}
	y, dx, dy := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
	run(t, set, kernel.Elementwise(kernel.ReLU, len(x)), x, y)
	for i := range dy {
		dy[i] = 7
	}
	run(t, set, kernel.Elementwise(kernel.ReLUGrad, len(x)), dy, y, dx)
	for i := range x {
		if math.Float32bits(y[i]) != math.Float32bits(want[i]) {
			t.Errorf("ReLU(%x) = %x, want %x", math.Float32bits(x[i]), math.Float32bits(y[i]), math.Float32bits(want[i]))
		}
		if gradient := map[bool]float32{true: 7, false: 0}[y[i] > 0]; dx[i] != gradient {
			t.Errorf("ReLUGrad at y = %x is %v, want %v", math.Float32bits(y[i]), dx[i], gradient)
		}
	}
}
