package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/evaluation"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

// Images in flight: they bound memory and change no number.
const (
	evalImages = 32
	stride     = 8 * evalImages // images between two looks at the progress bar; a GPU does them without a wait
)

// evalResult is what `dither eval --json` prints.
type evalResult struct {
	Dataset         string   `json:"dataset"`
	Split           string   `json:"split"`
	Images          int      `json:"images"`
	Correct         int      `json:"correct"`
	Accuracy        float64  `json:"accuracy"`
	Loss            float64  `json:"loss"`
	GradientNorm    *float64 `json:"gradient_norm,omitempty"`
	NormImages      int      `json:"gradient_norm_images,omitempty"`
	Model           string   `json:"model"`
	KernelSet       string   `json:"kernel_set"`
	Arithmetic      string   `json:"arithmetic"`
	Precision       string   `json:"precision"`
	Parameters      string   `json:"parameters_sha256"`
	DataOfficial    bool     `json:"data_official"`
	Seconds         float64  `json:"seconds"`
	ImagesPerSecond float64  `json:"images_per_second"`
	PeakMemoryBytes int64    `json:"peak_memory_bytes"`
}

func newEvalCommand(a *app) *cobra.Command {
	var path, name, data, network, split, output, kernels, precision string
	var offset, limit, norm, threads int
	var perturb perturbFlags
	cmd := &cobra.Command{Use: "eval", Short: "Evaluate a network on a data set", Args: noArgs,
		Long: "eval reads dither's checkpoints, PyTorch's .th and .pt files of a ResNet's state dict, and safetensors; nothing in a file is executed.",
		Example: "  dither eval --checkpoint resnet20.th --dataset cifar10 --data data\n" +
			"  dither eval --checkpoint runs/first/checkpoints/iteration-00001000.safetensors --dataset digits --gradient-norm 64 --json\n" +
			"  dither eval --checkpoint resnet20.th --dataset cifar10 --perturb 1e-4,1e-3,1e-2 --draws 8 --limit 1000 --stability stability.json --name teacher"}
	s := cmd.Flags()
	s.StringVar(&path, "checkpoint", "", "the network: dither's .safetensors, PyTorch's .th or .pt")
	s.StringVar(&name, "dataset", "digits", "digits, cifar10, cifar100 or svhn")
	s.StringVar(&data, "data", "data", "folder that holds the data set")
	s.StringVar(&network, "model", "", "refuse the file if it is another network")
	s.StringVar(&split, "split", "test", "test or train")
	s.IntVar(&offset, "offset", 0, "leave out the first M images")
	s.IntVar(&limit, "limit", 0, "evaluate N images; 0: all")
	s.IntVar(&norm, "gradient-norm", 0, "compute the gradient norm over the first N of these images too")
	s.StringVar(&output, "output", "", "write logits, labels and squared_norm to this .safetensors file")
	s.StringVar(&kernels, "kernels", "auto", kernelsHelp)
	s.StringVar(&precision, "precision", ditherv1.FP32, precisionHelp)
	s.IntVar(&threads, "threads", 0, "threads; 0: one for each processor")
	perturb.define(s)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if path == "" {
			return badInputf("--checkpoint is missing; give the file of a network")
		}
		if split != "test" && split != "train" {
			return badInputf("--split %s: it is test or train", split)
		}
		if err := perturb.check(s); err != nil {
			return err
		}
		set, err := dataloader.Open(name, data, dataloader.Options{SkipTrain: split == "test" && perturb.sds == nil, SkipTest: split == "train"})
		if err != nil {
			return badInput(err)
		}
		for _, w := range set.Warnings {
			fmt.Fprintln(a.stderr, "dither: warning:", w)
		}
		c, err := loadNetwork(path, set)
		if err != nil {
			return badInput(err)
		}
		if network != "" && network != c.Meta.Model {
			return badInputf("--model %s: %s is a %s", network, path, c.Meta.Model)
		}
		e := &evaluator{app: a, title: "eval", checkpoint: c, set: set, mean: dataloader.Mean[:], std: dataloader.Std[:]}
		if len(c.Meta.Mean) == set.Channels && len(c.Meta.Std) == set.Channels {
			e.mean, e.std = c.Meta.Mean, c.Meta.Std
		}
		a.warnThreads(threads)
		if e.kernels, err = openKernels(kernels, precision, threads); err != nil {
			return err
		}
		defer e.kernels.Close()
		images := set.Test
		if split == "train" {
			images = set.Train
		}
		if offset < 0 || offset >= images.N() || limit < 0 || norm < 0 {
			return badInputf("--offset %d, --limit %d, --gradient-norm %d: the %s split has %d images, counted from 0", offset, limit, norm, split, images.N())
		}
		n := images.N() - offset
		if limit > 0 {
			n = min(n, limit)
		}
		if perturb.sds != nil {
			return e.stability(cmd.Context(), &perturb, path, split, images, ascending(offset, n))
		}
		r, err := e.evaluate(cmd.Context(), split, images, ascending(offset, n), min(norm, n), output)
		if err != nil {
			return err
		}
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s on %s/%s: %d of %d right, accuracy %.2f %%, loss %.4f\n", r.Model, r.Dataset, r.Split, r.Correct, r.Images, 100*r.Accuracy, r.Loss)
			if r.GradientNorm != nil {
				fmt.Fprintf(w, "gradient norm %.6g over %d images\n", *r.GradientNorm, r.NormImages)
			}
			fmt.Fprintf(w, "%.1f s, %.1f images/s, %s, parameters sha256:%s\n", r.Seconds, r.ImagesPerSecond, kernelsOf(r.KernelSet, r.Arithmetic), r.Parameters)
		})
	}
	return cmd
}

// ascending are n numbers from first.
func ascending(first, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(first + i)
	}
	return out
}

// evaluator puts images through a checkpoint's network.
type evaluator struct {
	app        *app
	title      string
	checkpoint *checkpoint.Checkpoint
	set        *dataloader.Set
	mean, std  []float64
	kernels    kernel.Set
}

func (e *evaluator) network() model.Spec {
	m := e.checkpoint.Meta
	return model.Spec{Name: m.Model, Shortcut: m.Shortcut, Shape: model.Shape{Channels: e.set.Channels, Height: e.set.Height, Width: e.set.Width, Classes: e.set.Classes}}
}

func (e *evaluator) batch(images dataloader.Images, ids []uint32, atOnce int) evaluation.Batch {
	return evaluation.Batch{Pixels: images.Pixels, Labels: images.Labels, IDs: ids, ImageBytes: e.set.Channels * e.set.Height * e.set.Width, Classes: e.set.Classes, AtOnce: atOnce}
}

// evaluate gives logits, and norms of the first norm images, and writes them to output if that is not "".
func (e *evaluator) evaluate(ctx context.Context, split string, images dataloader.Images, ids []uint32, norm int, output string) (*evalResult, error) {
	began := time.Now()
	logits, err := e.logits(ctx, images, ids)
	if err != nil {
		return nil, err
	}
	seconds := time.Since(began).Seconds()
	r := &evalResult{Dataset: e.set.Name, Split: split, Images: len(ids), Model: e.checkpoint.Meta.Model, KernelSet: e.kernels.Name(), Arithmetic: e.kernels.Arithmetic(), Precision: ditherv1.Precision(e.kernels.Arithmetic()),
		Parameters: trainer.Hex(e.checkpoint.Hash()), DataOfficial: e.set.Official, Seconds: seconds, ImagesPerSecond: float64(len(ids)) / seconds}
	for i, id := range ids {
		im := evaluation.Judge(logits[i*e.set.Classes:(i+1)*e.set.Classes], int(images.Labels[id]))
		r.Loss += im.Loss / float64(len(ids))
		if im.Correct {
			r.Correct++
		}
	}
	if r.Loss-r.Loss != 0 {
		return nil, fmt.Errorf("the network's logits are not finite: its parameters are not a trained network's")
	}
	r.Accuracy = float64(r.Correct) / float64(len(ids))
	var norms []float32
	if norm > 0 {
		if norms, err = e.norms(ctx, images, ids[:norm]); err != nil {
			return nil, err
		}
		mean := mean(evaluation.SumLogits(norms, e.set.Classes))
		r.GradientNorm, r.NormImages = &mean, norm
	}
	if output != "" {
		if err := e.write(output, logits, images, ids, norms); err != nil {
			return nil, err
		}
	}
	r.PeakMemoryBytes = peakMemory()
	return r, nil
}

// test evaluates on the test images.
func (e *evaluator) test(ctx context.Context) (*evalResult, error) {
	return e.evaluate(ctx, "test", e.set.Test, ascending(0, e.set.Test.N()), 0, "")
}

// trainingNorm is the gradient norm over the training images on which a run measures it.
func (e *evaluator) trainingNorm(ctx context.Context, spec *ditherv1.RunSpec, n int) (float64, error) {
	training, _ := dataloader.Split(spec.GetSeed(), e.set.Train.N(), spec.GetDataset().GetValidation())
	var ids []uint32
	for _, i := range dataloader.Subset(spec.GetSeed(), len(training), n) {
		ids = append(ids, training[i])
	}
	norms, err := e.norms(ctx, e.set.Train, ids)
	if err != nil {
		return 0, err
	}
	return mean(evaluation.SumLogits(norms, e.set.Classes)), nil
}

func (e *evaluator) logits(ctx context.Context, images dataloader.Images, ids []uint32) ([]float32, error) {
	p, err := program.NewInference(e.kernels, e.network(), evalImages, e.mean, e.std, trainer.Pad)
	if err != nil {
		return nil, badInput(err)
	}
	defer p.Close()
	if err := trainer.LoadParameters(p, e.checkpoint); err != nil {
		return nil, badInput(err)
	}
	return e.inPieces(ctx, e.title, ids, stride, func(ids []uint32) ([]float32, error) { return evaluation.Logits(p, e.batch(images, ids, stride)) })
}

func (e *evaluator) norms(ctx context.Context, images dataloader.Images, ids []uint32) ([]float32, error) {
	atOnce := program.NormImages(e.set.Classes)
	p, err := program.NewSquaredNorm(e.kernels, e.network(), atOnce, e.mean, e.std, trainer.Pad)
	if err != nil {
		return nil, badInput(err)
	}
	defer p.Close()
	if err := trainer.LoadParameters(p, e.checkpoint); err != nil {
		return nil, badInput(err)
	}
	return e.inPieces(ctx, e.title+": gradient norm", ids, atOnce, func(ids []uint32) ([]float32, error) {
		return evaluation.SquaredNorms(p, e.batch(images, ids, atOnce))
	})
}

// inPieces computes piece by piece, so that progress shows and an interrupt is heard.
func (e *evaluator) inPieces(ctx context.Context, title string, ids []uint32, piece int, compute func(ids []uint32) ([]float32, error)) ([]float32, error) {
	bar := e.app.progress(title, len(ids))
	defer bar.Done()
	var out []float32
	for from := 0; from < len(ids); from += piece {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		v, err := compute(ids[from:min(from+piece, len(ids))])
		if err != nil {
			return nil, err
		}
		out = append(out, v...)
		bar.Set(min(from+piece, len(ids)), "")
	}
	return out, nil
}

func (e *evaluator) write(path string, logits []float32, images dataloader.Images, ids []uint32, norms []float32) error {
	labels := make([]byte, 8*len(ids))
	for i, id := range ids {
		binary.LittleEndian.PutUint64(labels[8*i:], uint64(images.Labels[id]))
	}
	tensors := map[string]checkpoint.Raw{
		"logits": {DType: "F32", Shape: []int{len(ids), e.set.Classes}, Data: ditherv1.Float32Tensor(logits).GetData()},
		"labels": {DType: "I64", Shape: []int{len(ids)}, Data: labels},
	}
	if norms != nil {
		tensors["squared_norm"] = checkpoint.Raw{DType: "F32", Shape: []int{len(norms) / e.set.Classes, e.set.Classes}, Data: ditherv1.Float32Tensor(norms).GetData()}
	}
	return checkpoint.WriteSafetensors(path, tensors, map[string]string{"dataset": e.set.Name, "model": e.checkpoint.Meta.Model, "arithmetic": e.kernels.Arithmetic()})
}

// mean adds up in order and divides.
func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / math.Max(1, float64(len(v)))
}

// peakMemory is the most memory that this process has had, in bytes.
func peakMemory() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss * 1024
}
