package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/dataloader"
	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

func newBenchCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{Use: "bench", Short: "Time the parts that make a run", Example: "  dither bench step --model resnet20 --batch 64 --json\n  dither bench allreduce --trainers 2 --floats 855770"})
	cmd.AddCommand(newBenchStepCommand(a), newBenchAllreduceCommand(a))
	return cmd
}

// stepResult is what `dither bench step --json` prints.
type stepResult struct {
	Model           string  `json:"model"`
	Batch           int     `json:"batch"`
	Shards          int     `json:"shards"`
	Threads         int     `json:"threads"`
	KernelSet       string  `json:"kernel_set"`
	Steps           int     `json:"steps"`
	StepMS          float64 `json:"step_ms"`
	StepMSMin       float64 `json:"step_ms_min"`
	ImagesPerSecond float64 `json:"images_per_second"`
	GFLOPS          float64 `json:"gflops"`
	AllocsPerStep   float64 `json:"allocs_per_step"`
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
}

func newBenchStepCommand(a *app) *cobra.Command {
	r := stepResult{}
	var kernels, loss string
	var explain bool
	cmd := &cobra.Command{Use: "step", Short: "Time a training step: forward, backward, reduction, update", Args: noArgs,
		Example: "  dither bench step --model resnet20 --batch 64 --threads 2 --json\n  dither bench step --explain"}
	s := cmd.Flags()
	s.StringVar(&r.Model, "model", "resnet20", "the network, for images of 3 x 32 x 32 and 10 classes")
	s.IntVar(&r.Batch, "batch", 64, "samples of an iteration")
	s.IntVar(&r.Shards, "shards", 1, "shards, all of them computed here")
	s.IntVar(&r.Threads, "threads", 0, "threads; 0: one for each processor")
	s.IntVar(&r.Steps, "steps", 5, "timed steps, after two that are not")
	s.StringVar(&kernels, "kernels", "auto", "kernel set: auto (the fastest here), generic, avx2 or avx512")
	s.StringVar(&loss, "loss", "quadratic", "the loss")
	s.BoolVar(&explain, "explain", false, "print the plan: every step with its shapes and memory")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.Threads == 0 {
			r.Threads = runtime.GOMAXPROCS(0)
		}
		if r.Batch < 1 || r.Shards < 1 || r.Steps < 1 || r.Batch%r.Shards != 0 {
			return badInputf("--batch %d --shards %d --steps %d: all are positive, and the shards divide the batch", r.Batch, r.Shards, r.Steps)
		}
		a.warnThreads(r.Threads)
		t, close, err := benchProgram(r.Model, r.Batch, r.Shards, r.Threads, kernels, loss)
		if err != nil {
			return err
		}
		defer close()
		if explain {
			return t.Explain(a.stdout, r.Steps)
		}
		r.KernelSet = t.KernelSet()
		if err := timeSteps(t, &r); err != nil {
			return err
		}
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s, batch %d in %d shards, %d threads, %s kernels: %.1f ms a step (least %.1f), %.1f images/s, %.2f GFLOP/s, %.0f allocations a step, %d MiB\n",
				r.Model, r.Batch, r.Shards, r.Threads, r.KernelSet, r.StepMS, r.StepMSMin, r.ImagesPerSecond, r.GFLOPS, r.AllocsPerStep, r.PeakMemoryBytes>>20)
		})
	}
	return cmd
}

// benchProgram is the program of a trainer that owns every shard, with random parameters, digits as images and normal numbers as labels.
func benchProgram(name string, batch, shards, threads int, kernels, loss string) (*program.Training, func(), error) {
	set, err := dataloader.Open("digits", "", dataloader.Options{})
	if err != nil {
		return nil, nil, err
	}
	l, err := parseLoss(loss)
	if err != nil {
		return nil, nil, err
	}
	k, err := openKernels(kernels, threads)
	if err != nil {
		return nil, nil, err
	}
	spec := model.Spec{Name: name, Shape: model.Shape{Channels: set.Channels, Height: set.Height, Width: set.Width, Classes: set.Classes}}
	if name != "mlp" {
		spec.Shortcut = "A"
	}
	t, err := program.NewTraining(k, program.TrainingConfig{Model: spec, Groups: shards, Images: batch / shards, Batch: batch, Shards: shards,
		Loss: model.Loss{Quadratic: l.Quadratic, KD: l.Kd, CE: l.Ce, Temperature: 4}, BatchNorm: "shard", Momentum: 0.9, WeightDecay: 1e-4, Mean: dataloader.Mean[:], Std: dataloader.Std[:], Pad: trainer.Pad})
	if err != nil {
		k.Close()
		return nil, nil, badInput(err)
	}
	if err := trainer.StartRandom(t, 1); err != nil {
		return nil, nil, err
	}
	size := set.Channels * set.Height * set.Width
	pixels, geometry, labels, soft := make([]byte, batch*size), make([]int32, 3*batch), make([]int32, batch), make([]float32, batch*set.Classes)
	for i := range batch {
		j := i % set.Train.N()
		copy(pixels[i*size:(i+1)*size], set.Train.Pixels[j*size:])
		geometry[3*i], geometry[3*i+1], labels[i] = trainer.Pad, trainer.Pad, set.Train.Labels[j]
	}
	for i := range soft {
		soft[i] = float32(elementary.Normals(philox.At(1, philox.Gaussian, 1, uint32(i), 0))[0])
	}
	return t, func() { t.Close(); k.Close() }, t.Input(pixels, geometry, labels, soft)
}

// timeSteps takes whole steps, update included, at a learning rate of 0.001, which keeps the parameters sound.
func timeSteps(t *program.Training, r *stepResult) error {
	reducer := allreduce.New(allreduce.Group{Ranges: []allreduce.Range{{First: 0, End: r.Shards}}}, nil, allreduce.Options{})
	defer reducer.Close()
	var times []float64
	var before, after runtime.MemStats
	for i := range r.Steps + 2 {
		if i == 2 {
			runtime.ReadMemStats(&before)
		}
		began := time.Now()
		reducer.Begin(uint32(i + 1))
		if _, _, err := t.Step(reducer); err != nil {
			return err
		}
		if err := t.Commit(0.001); err != nil {
			return err
		}
		if i >= 2 {
			times = append(times, float64(time.Since(began).Microseconds())/1e3)
		}
	}
	runtime.ReadMemStats(&after)
	slices.Sort(times)
	r.StepMS, r.StepMSMin = median(times), times[0]
	r.ImagesPerSecond = float64(r.Batch) / r.StepMS * 1e3
	r.GFLOPS = t.FLOPs() / r.StepMS / 1e6
	r.AllocsPerStep = float64(after.Mallocs-before.Mallocs) / float64(r.Steps)
	r.PeakMemoryBytes = peakMemory()
	return nil
}

// median of sorted numbers.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// allreduceResult is what `dither bench allreduce --json` prints.
type allreduceResult struct {
	Trainers int     `json:"trainers"`
	Floats   int     `json:"floats"`
	MS       float64 `json:"ms"`
	MSMin    float64 `json:"ms_min"`
	BusGB    float64 `json:"bus_gb_per_s"`
}

func newBenchAllreduceCommand(a *app) *cobra.Command {
	r := allreduceResult{}
	var times int
	cmd := &cobra.Command{Use: "allreduce", Short: "Time the all-reduce between trainers in this process, over gRPC", Args: noArgs, Example: "  dither bench allreduce --trainers 2 --floats 855770 --json"}
	cmd.Flags().IntVar(&r.Trainers, "trainers", 2, "trainers, a shard each")
	cmd.Flags().IntVar(&r.Floats, "floats", 855770, "float32 numbers to sum")
	cmd.Flags().IntVar(&times, "times", 20, "how often, after three that are not timed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.Trainers < 1 || r.Floats < 1 || times < 1 {
			return badInputf("--trainers %d --floats %d --times %d: all must be positive", r.Trainers, r.Floats, times)
		}
		ms, err := allreduce.Bench(cmd.Context(), r.Trainers, r.Floats, times+3)
		if err != nil {
			return err
		}
		ms = ms[3:]
		slices.Sort(ms)
		r.MS, r.MSMin = median(ms), ms[0]
		n := float64(r.Trainers)
		r.BusGB = 2 * (n - 1) / n * float64(r.Floats) * 4 / r.MS * 1e-6
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%d trainers, %d floats: %.2f ms (least %.2f), %.2f GB/s on the bus\n", r.Trainers, r.Floats, r.MS, r.MSMin, r.BusGB)
		})
	}
	return cmd
}
