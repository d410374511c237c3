//go:build gpu

package cuda

import (
	"os"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func open(t *testing.T) kernel.Set {
	t.Helper()
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The set passes the suite, and has the bits of the CPU's kernels.
func TestSuite(t *testing.T) {
	names := cpu.Available()
	var variants []func() kernel.Set
	for _, name := range []string{names[0], names[len(names)-1]} {
		variants = append(variants, func() kernel.Set {
			s, err := cpu.New(cpu.Options{Threads: 1, Kernels: name})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	}
	kerneltest.Run(t, open(t), kerneltest.Options{Seed: 1, Trials: 8, Variants: variants})
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
