package ref_test

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

func TestSuite(t *testing.T) {
	kerneltest.Run(t, ref.New(), kerneltest.Options{Seed: 1, Allocates: true})
}
