package program_test

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

func reference() kernel.Set { return ref.New() }

func fastest(t *testing.T) kernel.Set {
	t.Helper()
	set, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}
