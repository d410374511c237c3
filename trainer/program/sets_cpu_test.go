//go:build !gpu

package program_test

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

// fastest is the set that is held to PyTorch's numbers: the processor's, or with the tag gpu a GPU's.
func fastest(t *testing.T) kernel.Set {
	t.Helper()
	set, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}
