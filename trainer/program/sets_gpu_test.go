//go:build gpu

package program_test

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

func fastest(t *testing.T) kernel.Set {
	t.Helper()
	set, err := cuda.New(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}
