package main

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/kernel"
)

func newBenchCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{Use: "bench", Short: "Time the parts that make a run", Example: "  dither bench step --model resnet20 --batch 64 --json\n  dither bench allreduce --trainers 2 --floats 855770"})
	cmd.AddCommand(newBenchStepCommand(a), newBenchEvalCommand(a), newBenchNormCommand(a), newBenchAllreduceCommand(a), newBenchOLSCommand(a))
	return cmd
}

// benchFlags are what the benches that compute have in common.
type benchFlags struct {
	model, kernels, precision string
	threads, steps            int
}

func (f *benchFlags) define(s *pflag.FlagSet, steps int, what string) {
	s.StringVar(&f.model, "model", "resnet20", "the network, for images of 3 x 32 x 32 and 10 classes")
	s.IntVar(&f.threads, "threads", 0, "threads; 0: one for each processor")
	s.StringVar(&f.kernels, "kernels", "auto", kernelsHelp)
	s.StringVar(&f.precision, "precision", ditherv1.FP32, precisionHelp)
	s.IntVar(&f.steps, "steps", steps, what)
}

// open gives the kernel set, and settles how many threads there are.
func (f *benchFlags) open(a *app) (kernel.Set, error) {
	sets, err := f.openGPUs(a, 1)
	if err != nil {
		return nil, err
	}
	return sets[0], nil
}

// openGPUs is open with a kernel set for each of several GPUs.
func (f *benchFlags) openGPUs(a *app, gpus int) ([]kernel.Set, error) {
	sets, err := openKernelsFor(gpuUser{gpus: gpus}, f.kernels, f.precision, f.threads)
	if err != nil {
		return nil, err
	}
	if f.threads == 0 {
		f.threads = runtime.GOMAXPROCS(0)
	}
	a.warnThreads(f.threads)
	return sets, nil
}

// draftOf is what `dither run` would make of these flags.
func draftOf(flags ...string) (*draft, error) {
	f, cmd := &runFlags{}, &cobra.Command{}
	f.define(cmd)
	if err := cmd.ParseFlags(flags); err != nil {
		return nil, err
	}
	return newSpec(f, "")
}

// timed does work n times after others that only warm up, and gives the milliseconds of each in ascending order.
func timed(ctx context.Context, warmup, n int, work func() error) ([]float64, error) {
	ms := make([]float64, 0, n)
	for i := range warmup + n {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		began := time.Now()
		if err := work(); err != nil {
			return nil, err
		}
		if i >= warmup {
			ms = append(ms, float64(time.Since(began).Nanoseconds())/1e6)
		}
	}
	slices.Sort(ms)
	return ms, nil
}

// median of sorted numbers.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
