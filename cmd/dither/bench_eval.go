package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/evaluation"
	"github.com/dither-ml/dither/trainer/program"
)

// evalBenchResult is what `dither bench eval --json` prints.
type evalBenchResult struct {
	Model           string  `json:"model"`
	Batch           int     `json:"batch"`
	Threads         int     `json:"threads"`
	KernelSet       string  `json:"kernel_set"`
	Arithmetic      string  `json:"arithmetic"`
	Precision       string  `json:"precision"`
	BatchMS         float64 `json:"batch_ms"`
	BatchMSMin      float64 `json:"batch_ms_min"`
	ImagesPerSecond float64 `json:"images_per_second"`
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
	DeviceMemory    int64   `json:"device_memory_bytes"`
}

func newBenchEvalCommand(a *app) *cobra.Command {
	f := benchFlags{}
	var batch int
	cmd := &cobra.Command{Use: "eval", Short: "Time inference: the logits of a batch of images", Args: noArgs, Example: "  dither bench eval --model resnet56 --batch 256 --json"}
	f.define(cmd.Flags(), 5, "timed batches, after one that is not")
	cmd.Flags().IntVar(&batch, "batch", 256, "images, all of them at once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if batch < 1 || f.steps < 1 {
			return badInputf("--batch %d --steps %d: both must be positive", batch, f.steps)
		}
		d, err := draftOf("--dataset=digits", flag("model", f.model))
		if err != nil {
			return err
		}
		images, err := benchImages(d, batch, batch)
		if err != nil {
			return err
		}
		kernels, err := f.open(a)
		if err != nil {
			return err
		}
		defer kernels.Close()
		p, err := program.NewInference(kernels, d.network, batch, d.file.Spec.Dataset.Mean, d.file.Spec.Dataset.Std, trainer.Pad)
		if err != nil {
			return err
		}
		defer p.Close()
		if err := trainer.StartRandom(p, 1); err != nil {
			return err
		}
		ms, err := timed(cmd.Context(), 1, f.steps, func() error {
			_, err := evaluation.Logits(p, images)
			return err
		})
		if err != nil {
			return err
		}
		r := evalBenchResult{Model: f.model, Batch: batch, Threads: f.threads, KernelSet: kernels.Name(), Arithmetic: kernels.Arithmetic(), Precision: f.precision, BatchMS: median(ms), BatchMSMin: ms[0], PeakMemoryBytes: peakMemory()}
		r.ImagesPerSecond = float64(batch) / r.BatchMS * 1e3
		if r.DeviceMemory, err = deviceMemory(kernels); err != nil {
			return err
		}
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s, %d images at once, %d threads, %s: %.1f ms (least %.1f), %.1f images/s, %s\n",
				r.Model, r.Batch, r.Threads, kernelsOf(r.KernelSet, r.Arithmetic), r.BatchMS, r.BatchMSMin, r.ImagesPerSecond, memoryText(r.PeakMemoryBytes, r.DeviceMemory))
		})
	}
	return cmd
}

// benchImages are the first n training images of the draft's data, so many at once.
func benchImages(d *draft, n, atOnce int) (evaluation.Batch, error) {
	if have := d.data.Train.N(); n > have {
		return evaluation.Batch{}, badInputf("%d images are asked for, and %s has %d", n, d.data.Name, have)
	}
	return evaluation.Batch{Pixels: d.data.Train.Pixels, IDs: ascending(0, n), ImageBytes: d.data.Channels * d.data.Height * d.data.Width, Classes: d.data.Classes, AtOnce: atOnce}, nil
}
