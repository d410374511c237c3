package cpu

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func threads(t testing.TB, n int) kernel.Set {
	s, err := New(Options{Threads: n})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	set := threads(t, 2)
	defer set.Close()
	kerneltest.Run(t, set, kerneltest.Options{Seed: 1, Variants: []func() kernel.Set{
		func() kernel.Set { return threads(t, 1) },
		func() kernel.Set { return threads(t, 3) },
	}})
}
