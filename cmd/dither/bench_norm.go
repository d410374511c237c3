package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/evaluation"
	"github.com/dither-ml/dither/trainer/program"
)

// normBenchResult is what `dither bench gradient-norm --json` prints.
type normBenchResult struct {
	Model           string  `json:"model"`
	Images          int     `json:"images"`
	Threads         int     `json:"threads"`
	KernelSet       string  `json:"kernel_set"`
	Arithmetic      string  `json:"arithmetic"`
	Precision       string  `json:"precision"`
	MSPerImage      float64 `json:"ms_per_image"`
	MSPerImageMin   float64 `json:"ms_per_image_min"`
	GradientNorm    float64 `json:"gradient_norm"`
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
	DeviceMemory    int64   `json:"device_memory_bytes"`
}

func newBenchNormCommand(a *app) *cobra.Command {
	f := benchFlags{}
	var images int
	cmd := &cobra.Command{Use: "gradient-norm", Short: "Time the gradient norm: the squared gradient of every logit of every image", Args: noArgs, Example: "  dither bench gradient-norm --model resnet20 --images 64 --json"}
	f.define(cmd.Flags(), 3, "timed passes over the images, after one that is not")
	cmd.Flags().IntVar(&images, "images", 64, "images")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if images < 1 || f.steps < 1 {
			return badInputf("--images %d --steps %d: both must be positive", images, f.steps)
		}
		d, err := draftOf("--dataset=digits", flag("model", f.model))
		if err != nil {
			return err
		}
		atOnce := program.NormImages(d.network.Classes)
		batch, err := benchImages(d, images, atOnce)
		if err != nil {
			return err
		}
		kernels, err := f.open(a)
		if err != nil {
			return err
		}
		defer kernels.Close()
		p, err := program.NewSquaredNorm(kernels, d.network, atOnce, d.file.Spec.Dataset.Mean, d.file.Spec.Dataset.Std, trainer.Pad)
		if err != nil {
			return err
		}
		defer p.Close()
		if err := trainer.StartRandom(p, 1); err != nil {
			return err
		}
		var norms []float32
		ms, err := timed(cmd.Context(), 1, f.steps, func() (err error) {
			norms, err = evaluation.SquaredNorms(p, batch)
			return err
		})
		if err != nil {
			return err
		}
		n := float64(images)
		r := normBenchResult{Model: f.model, Images: images, Threads: f.threads, KernelSet: kernels.Name(), Arithmetic: kernels.Arithmetic(), Precision: f.precision, MSPerImage: median(ms) / n, MSPerImageMin: ms[0] / n,
			GradientNorm: mean(evaluation.SumLogits(norms, d.network.Classes)), PeakMemoryBytes: peakMemory()}
		if r.DeviceMemory, err = deviceMemory(kernels); err != nil {
			return err
		}
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s, %d images, %d threads, %s: %.2f ms an image (least %.2f), gradient norm %.6g, %s\n",
				r.Model, r.Images, r.Threads, kernelsOf(r.KernelSet, r.Arithmetic), r.MSPerImage, r.MSPerImageMin, r.GradientNorm, memoryText(r.PeakMemoryBytes, r.DeviceMemory))
		})
	}
	return cmd
}
