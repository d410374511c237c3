//go:build gpu

package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func open(t *testing.T) kernel.Set { return openWith(t, Options{}) }

func openWith(t *testing.T, o Options) kernel.Set {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The sets pass the suite; that of float32 has the bits of the CPU's kernels.
func TestSuite(t *testing.T) {
	counts := map[string]int{}
	single, half := open(t), openWith(t, Options{Half: true})
	t.Run("float32", func(t *testing.T) {
		kerneltest.Run(t, single, kerneltest.Options{Seed: 1, Trials: 8, Variants: processors(t)})
	})
	t.Run("bfloat16", func(t *testing.T) { kerneltest.Run(t, half, kerneltest.Options{Seed: 1, Trials: 8}) })
	publishedBlocks(t, single.(*set).device)
	t.Run("apart", func(t *testing.T) { kerneltest.Hold(t, half, 1, forwardsApart(t)...) })
	for _, s := range []kernel.Set{single, half} {
		if _, err := s.(*set).Ceilings(); err != nil { // has a kernel that no Kind has
			t.Error(err)
		}
		launched, err := s.(*set).device.launched()
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range launched {
			counts[name] += n
		}
	}
	for _, name := range sources(t) {
		t.Logf("%-22s %6d launches", name, counts[name])
		if counts[name] == 0 {
			t.Errorf("the kernel %s was not launched", name)
		}
	}
}

// processors make the CPU's sets, the plainest and the fastest.
func processors(t *testing.T) (variants []func() kernel.Set) {
	names := cpu.Available()
	for _, name := range []string{names[0], names[len(names)-1]} {
		variants = append(variants, func() kernel.Set {
			s, err := cpu.New(cpu.Options{Threads: 1, Kernels: name})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	}
	return variants
}

// sources are the names of the kernels in src, sorted.
func sources(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("src/*.cu")
	if err != nil || len(files) == 0 {
		t.Fatalf("kernels in src: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^KERNEL(?:_BOUNDS|_RESIDENT)?\((\w+),`).FindAllSubmatch(text, -1) {
			names = append(names, string(match[1]))
		}
	}
	slices.Sort(names)
	return names
}

// The bits of cpu/2 are written down beside the CPU's kernels.
func TestFingerprints(t *testing.T) {
	want, err := os.ReadFile("../cpu/testdata/cpu-2.txt")
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(strings.TrimSpace(string(want)), "\n")
	for i, line := range kerneltest.Fingerprints(t, open(t)) {
		if i >= len(wanted) || line != wanted[i] {
			t.Errorf("%s: other bits than those of %s", line, Arithmetic)
		}
	}
}

func TestNewNamesTheGPUThatIsMissing(t *testing.T) {
	for _, number := range []int{-1, 99} {
		_, err := New(Options{Device: number})
		if !errors.Is(err, kernel.ErrUnsupported) || !strings.Contains(err.Error(), fmt.Sprintf("no GPU %d;", number)) {
			t.Errorf("GPU %d gave the error %v", number, err)
		}
	}
}

func TestAllocSaysWhatIsFree(t *testing.T) {
	_, err := open(t).Alloc(kernel.Real, 1<<39)
	if err == nil || !strings.Contains(err.Error(), "allocating 2199023255552 bytes") || !strings.Contains(err.Error(), "are free") {
		t.Errorf("2 TiB gave the error %v", err)
	}
}

// Copies are larger than the pinned memory they go through, and follow each other without a Sync.
func TestLargeCopiesGoInPieces(t *testing.T) {
	s := open(t)
	const n = staged/4 + 5000
	m, err := s.Alloc(kernel.Real, n+1)
	if err != nil {
		t.Fatal(err)
	}
	want, got, wide := make([]float32, n), make([]float32, n), make([]float64, n)
	for i := range want {
		want[i] = float32(i)
	}
	q := s.NewStream()
	q.Write(m.Slice(1, n+1), want)
	q.Read(got, m.Slice(1, n+1))
	q.Read(wide, m.Slice(1, n+1))
	if err := q.Sync(); err != nil {
		t.Fatal(err)
	}
	for i, v := range want {
		if got[i] != v || wide[i] != float64(v) {
			t.Fatalf("element %d reads as %v and %v, want %v", i, got[i], wide[i], v)
		}
	}
}

// A launch that the driver refuses is told by Sync, from then on.
func TestWhatGoesWrongIsToldBySync(t *testing.T) {
	s := open(t)
	q := s.NewStream()
	d := s.(*set).device
	d.enqueue(func() error { return errors.New("the bus") }, "trying")
	for range 2 {
		if err := q.Sync(); err == nil || !strings.Contains(err.Error(), "GPU 0") || !strings.Contains(err.Error(), "trying: the bus") {
			t.Errorf("Sync gave the error %v", err)
		}
	}
}

func TestAClosedSetSaysSo(t *testing.T) {
	s := open(t)
	s.Close()
	if _, err := s.Alloc(kernel.Real, 5); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Alloc gave the error %v", err)
	}
}
