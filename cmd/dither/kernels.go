package main

import (
	"fmt"
	"runtime"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

const kernelsHelp = "kernel set: auto (the fastest for this processor), generic, avx2, avx512, or cuda (NVIDIA GPUs)"

const shareGPUHelp = "with --kernels cuda: several trainers may compute on one GPU; else that is refused"

const gpusHelp = "with --kernels cuda: GPUs of each trainer, which divides its shards among them"

const precisionHelp = "what activations and products are computed in: fp32, or bf16, which needs --kernels cuda"

// openKernels is the kernel set of that name, in that precision, with so many threads; 0: one for each processor. cuda is on a GPU that trainers leave free, if there is one.
func openKernels(name, precision string, threads int) (kernel.Set, error) {
	sets, err := openKernelsFor(gpuUser{}, name, precision, threads)
	if err != nil {
		return nil, err
	}
	return sets[0], nil
}

// openKernelsFor is openKernels for somebody whom not every GPU suits, or one not enough: a set for each of its GPUs.
func openKernelsFor(u gpuUser, name, precision string, threads int) ([]kernel.Set, error) {
	if err := checkPrecision(name, precision); err != nil {
		return nil, err
	}
	if err := checkGPUCount(name, u.gpus); err != nil {
		return nil, err
	}
	if threads < 0 {
		return nil, badInputf("--threads %d: give a positive number, or 0 for one for each processor", threads)
	}
	if name == "cuda" {
		return openCUDA(u, precision == ditherv1.BF16)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	set, err := cpu.New(cpu.Options{Threads: threads, Kernels: name})
	if err != nil {
		return nil, badInput(fmt.Errorf("--kernels: %w", err))
	}
	return []kernel.Set{set}, nil
}

// checkGPUCount refuses several GPUs where none computes. Nobody who says nothing of them (0) means but one.
func checkGPUCount(kernels string, gpus int) error {
	if gpus > 1 && kernels != "cuda" {
		return badInputf("--gpus %d needs --kernels cuda, and --kernels %s computes on the processor", gpus, kernels)
	}
	return nil
}

func closeAll(sets []kernel.Set) {
	for _, s := range sets {
		s.Close()
	}
}

// checkPrecision refuses a precision that a kernel set does not have.
func checkPrecision(kernels, precision string) error {
	switch {
	case precision != ditherv1.FP32 && precision != ditherv1.BF16:
		return badInputf("--precision %s: it is fp32 or bf16", precision)
	case precision == ditherv1.BF16 && kernels != "cuda":
		return badInputf("the precision bf16 needs --kernels cuda, and --kernels %s computes in fp32 on the processor", kernels)
	}
	return nil
}

// goOnWith says which kernels go on with what was begun in another arithmetic than that at hand.
func goOnWith(its, runs string) string {
	if ditherv1.Precision(runs) == ditherv1.BF16 {
		return ditherv1.OtherKernels(its, runs)
	}
	return "go on with the dither that began it"
}

// kernelsOf names kernel sets for people, and their precision where it is not float32.
func kernelsOf(names, arithmetic string) string {
	if p := ditherv1.Precision(arithmetic); p != ditherv1.FP32 {
		return names + " kernels in " + p
	}
	return names + " kernels"
}

// warnThreads says that more threads than processors were asked for: it works, and only slows down.
func (a *app) warnThreads(threads int) {
	if n := runtime.NumCPU(); threads > n {
		fmt.Fprintf(a.stderr, "dither: warning: %d threads on %d processors only get in each other's way; say --threads %d or fewer\n", threads, n, n)
	}
}
