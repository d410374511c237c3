package main

import (
	"fmt"
	"runtime"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

// openKernels is the kernel set of that name with so many threads; 0: one for each processor.
func openKernels(name string, threads int) (kernel.Set, error) {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	set, err := cpu.New(cpu.Options{Threads: threads, Kernels: name})
	if err != nil {
		return nil, badInput(fmt.Errorf("--kernels: %w", err))
	}
	return set, nil
}
