package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/kernel"
)

// stepWarmup is how many iterations are not timed; they are of the run all the same.
const stepWarmup = 2

// stepResult is what `dither bench step --json` prints.
type stepResult struct {
	Model            string  `json:"model"`
	Batch            int     `json:"batch"`
	Shards           int     `json:"shards"`
	Threads          int     `json:"threads"`
	GPUs             int     `json:"gpus"` // 0: the processor computes
	KernelSet        string  `json:"kernel_set"`
	Arithmetic       string  `json:"arithmetic"`
	Precision        string  `json:"precision"`
	Steps            int     `json:"steps"`
	StepMS           float64 `json:"step_ms"`
	StepMSMin        float64 `json:"step_ms_min"`
	ImagesPerSecond  float64 `json:"images_per_second"`
	GFLOPS           float64 `json:"gflops"`
	AllocsPerStep    float64 `json:"allocs_per_step"`
	PeakMemoryBytes  int64   `json:"peak_memory_bytes"`
	DeviceMemory     int64   `json:"device_memory_bytes"` // of all devices together
	DeviceMS         float64 `json:"device_ms"`           // of a step, what its launches take on a device, by the device's events; 0 where there is none, or several
	HostMS           float64 `json:"host_ms"`             // of a step, the rest of step_ms: the device waits for the host
	ParametersSHA256 string  `json:"parameters_sha256"`   // after the last step
	Run              string  `json:"run"`                 // the command that ends with these parameters
}

func newBenchStepCommand(a *app) *cobra.Command {
	f := benchFlags{}
	var batch, shards, gpus int
	var explain bool
	cmd := &cobra.Command{Use: "step", Short: "Time a training step: input, forward, backward, reduction, update", Args: noArgs,
		Long:    "step takes the first iterations of a run on the digits, as a trainer that owns all shards does, and says which `dither run` ends with the same parameters.",
		Example: "  dither bench step --model resnet20 --batch 64 --threads 2 --json\n  dither bench step --explain\n  dither bench step --model resnet56 --batch 1024 --kernels cuda --gpus 8"}
	s := cmd.Flags()
	f.define(s, 5, fmt.Sprintf("timed steps, after %d that are not", stepWarmup))
	s.IntVar(&batch, "batch", 64, "samples of an iteration")
	s.IntVar(&shards, "shards", 0, "shards, all of them computed here; default: as many as GPUs")
	s.IntVar(&gpus, "gpus", 1, "with --kernels cuda: GPUs, which divide the shards among them")
	s.BoolVar(&explain, "explain", false, "print the plan: every step with its shapes, memory and time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("shards") {
			shards = max(1, gpus)
		}
		if batch < 1 || shards < 1 || gpus < 1 || f.steps < 1 || batch%shards != 0 {
			return badInputf("--batch %d --shards %d --gpus %d --steps %d: all are positive, and the shards divide the batch", batch, shards, gpus, f.steps)
		}
		if gpus > shards {
			return badInputf("--gpus %d are more than --shards %d, and a GPU without a shard has nothing to do", gpus, shards)
		}
		if explain && (a.json || gpus > 1) {
			return badInputf("--explain prints a table for people, of one GPU at most; leave out --json and --gpus")
		}
		sets, err := f.openGPUs(a, gpus)
		if err != nil {
			return err
		}
		defer closeAll(sets)
		b, err := newStepBench(sets, &f, batch, shards)
		if err != nil {
			return err
		}
		defer b.close()
		if explain {
			// The plan is timed with the input of a first iteration.
			if err := b.iterate(); err != nil {
				return err
			}
			return b.share.Program().Explain(a.stdout, f.steps)
		}
		r := &stepResult{Model: f.model, Batch: batch, Shards: shards, Threads: f.threads, KernelSet: sets[0].Name(), Arithmetic: sets[0].Arithmetic(), Precision: f.precision, Steps: f.steps, Run: b.run}
		if f.kernels == "cuda" {
			r.GPUs = gpus
		}
		if err := b.time(cmd.Context(), r); err != nil {
			return err
		}
		return a.result(r, func(w io.Writer) {
			on := fmt.Sprintf("%d threads", r.Threads)
			if r.GPUs > 1 {
				on = fmt.Sprintf("%d GPUs", r.GPUs)
			}
			fmt.Fprintf(w, "%s, batch %d in %d shards, %s, %s: %.1f ms a step (least %.1f), %.1f images/s, %.2f GFLOP/s, %.0f allocations a step, %s\n",
				r.Model, r.Batch, r.Shards, on, kernelsOf(r.KernelSet, r.Arithmetic), r.StepMS, r.StepMSMin, r.ImagesPerSecond, r.GFLOPS, r.AllocsPerStep, memoryText(r.PeakMemoryBytes, r.DeviceMemory))
			if r.DeviceMS > 0 {
				fmt.Fprintf(w, "%.3f ms of a step on the device, %.3f ms in which it waits for the host\n", r.DeviceMS, r.HostMS)
			}
			fmt.Fprintf(w, "parameters sha256:%s\nas after   %s\n", r.ParametersSHA256, r.Run)
		})
	}
	return cmd
}

// stepBench is a trainer that owns every shard of a run, without the other roles.
type stepBench struct {
	sets    []kernel.Set
	share   *trainer.Share
	reducer *allreduce.Reducer
	run     string                   // the command line of the run
	record  ditherv1.IterationRecord // of the last iteration
	done    uint32                   // iterations
}

// newStepBench begins the run of a fixed spec: few enough flags that the command which repeats it can be typed, and a learning rate that keeps the parameters sound.
func newStepBench(sets []kernel.Set, f *benchFlags, batch, shards int) (*stepBench, error) {
	flags := []string{"--dataset=digits", "--teacher=none", "--loss=ce", flag("model", f.model), flag("batch", batch), flag("shards", shards),
		flag("iterations", stepWarmup+f.steps), "--lr=0.01", "--gradient-norm=0", flag("kernels", f.kernels)}
	if f.precision != ditherv1.FP32 {
		flags = append(flags, flag("precision", f.precision))
	}
	if len(sets) > 1 {
		flags = append(flags, flag("gpus", len(sets)))
	}
	d, err := draftOf(flags...)
	if err != nil {
		return nil, err
	}
	if err := ditherv1.Validate(d.file.Spec); err != nil {
		return nil, badInput(err)
	}
	share, err := trainer.NewShare(sets, d.data, d.file.Spec, versionString(), 0, shards)
	if err != nil {
		return nil, err
	}
	if err := share.Start(nil); err != nil {
		share.Close()
		return nil, err
	}
	reducer := allreduce.New(allreduce.Group{Ranges: []allreduce.Range{{First: 0, End: shards}}}, nil, allreduce.Options{})
	return &stepBench{sets: sets, share: share, reducer: reducer, run: "dither run " + strings.Join(flags, " ")}, nil
}

func (b *stepBench) close() {
	b.reducer.Close()
	b.share.Close()
}

func (b *stepBench) iterate() error {
	b.done++
	b.record.Reset()
	_, err := b.share.Iterate(b.reducer, b.done, nil, nil, &b.record)
	return err
}

func (b *stepBench) time(ctx context.Context, r *stepResult) error {
	var before, after runtime.MemStats
	ms, err := timed(ctx, stepWarmup, r.Steps, func() error {
		if b.done == stepWarmup {
			runtime.ReadMemStats(&before)
		}
		return b.iterate()
	})
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	r.StepMS, r.StepMSMin = median(ms), ms[0]
	r.ImagesPerSecond = float64(r.Batch) / r.StepMS * 1e3
	r.GFLOPS = b.share.FLOPs() / r.StepMS / 1e6
	r.AllocsPerStep = float64(after.Mallocs-before.Mallocs) / float64(r.Steps)
	r.PeakMemoryBytes = peakMemory()
	c, err := b.share.Snapshot()
	if err != nil {
		return err
	}
	r.ParametersSHA256 = trainer.Hex(c.Hash())
	for _, set := range b.sets {
		m, err := deviceMemory(set)
		if err != nil {
			return err
		}
		r.DeviceMemory += m
	}
	if r.DeviceMemory == 0 || len(b.sets) > 1 {
		return nil
	}
	device, err := b.share.Program().DeviceTime(r.Steps) // last: it moves the parameters on
	if err != nil {
		return err
	}
	r.DeviceMS = device.Seconds() * 1e3
	r.HostMS = max(r.StepMS-r.DeviceMS, 0)
	return nil
}
