package program_test

import (
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

func reference() kernel.Set { return ref.New() }
