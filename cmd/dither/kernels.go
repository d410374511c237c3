package main

import (
	"runtime"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

// openKernels is the kernel set of that name with so many threads; 0: one for each processor.
func openKernels(name string, threads int) (kernel.Set, error) {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	switch name {
	case "auto", "generic":
		return cpu.New(cpu.Options{Threads: threads})
	}
	return nil, badInputf("there is no kernel set %q here; --kernels takes auto or generic", name)
}
