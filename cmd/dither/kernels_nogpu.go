//go:build !gpu

package main

import (
	"errors"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

const gpuBuild = false

// errNoCUDA is for a part of the program that was not reached through a command, which would have become dither-gpu.
var errNoCUDA = errors.New("--kernels cuda: this program has no CUDA kernels; dither-gpu has")

func askDriver() (cuda.Driver, error)              { return cuda.Driver{}, badInput(errNoCUDA) }
func openCUDA(gpuUser, bool) ([]kernel.Set, error) { return nil, badInput(errNoCUDA) }
