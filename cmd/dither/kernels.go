package main

import (
	"fmt"
	"runtime"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

const kernelsHelp = "kernel set: auto (the fastest for this processor), generic, avx2, avx512, or cuda (NVIDIA GPUs)"

const shareGPUHelp = "with --kernels cuda: several trainers may compute on one GPU; else that is refused"

// openKernels is the kernel set of that name with so many threads; 0: one for each processor. cuda is on a GPU that trainers leave free, if there is one.
func openKernels(name string, threads int) (kernel.Set, error) {
	return openKernelsFor(gpuUser{}, name, threads)
}

// openKernelsFor is openKernels for somebody whom not every GPU suits.
func openKernelsFor(u gpuUser, name string, threads int) (kernel.Set, error) {
	if threads < 0 {
		return nil, badInputf("--threads %d: give a positive number, or 0 for one for each processor", threads)
	}
	if name == "cuda" {
		return openCUDA(u)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	set, err := cpu.New(cpu.Options{Threads: threads, Kernels: name})
	if err != nil {
		return nil, badInput(fmt.Errorf("--kernels: %w", err))
	}
	return set, nil
}

// warnThreads says that more threads than processors were asked for: it works, and only slows down.
func (a *app) warnThreads(threads int) {
	if n := runtime.NumCPU(); threads > n {
		fmt.Fprintf(a.stderr, "dither: warning: %d threads on %d processors only get in each other's way; say --threads %d or fewer\n", threads, n, n)
	}
}
