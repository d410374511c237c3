package trainer

import (
	"fmt"
	"math"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/evaluation"
	"github.com/dither-ml/dither/trainer/program"
)

// evaluationImages are in flight in an evaluation: they bound memory and change no number.
const evaluationImages = 32

// share is this trainer's part of n things: [from, to).
func (t *Trainer) share(n int) (from, to int) {
	trainers := len(t.generation.GetTrainers())
	return n * t.rank / trainers, n * (t.rank + 1) / trainers
}

// evaluate computes this trainer's share of the validation and test images with the parameters as they are.
func (t *Trainer) evaluate(k uint32) error {
	d := t.Run.GetSpec().GetDataset()
	p, err := program.NewInference(t.Kernels, t.network, evaluationImages, d.GetMean(), d.GetStd(), Pad)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := t.copyTo(p); err != nil {
		return err
	}
	test := make([]uint32, t.Data.Test.N())
	for i := range test {
		test[i] = uint32(i)
	}
	if err := t.evaluateSplit(p, ditherv1.PartKind_PART_KIND_VALIDATION, k, t.validation, t.Data.Train.Pixels, t.Data.Train.Labels); err != nil {
		return err
	}
	return t.evaluateSplit(p, ditherv1.PartKind_PART_KIND_TEST, k, test, t.Data.Test.Pixels, t.Data.Test.Labels)
}

func (t *Trainer) evaluateSplit(p *program.Inference, kind ditherv1.PartKind, k uint32, ids []uint32, pixels []byte, labels []int32) error {
	from, to := t.share(len(ids))
	if len(ids) == 0 {
		return nil
	}
	images, err := evaluation.Images(p, evaluation.Batch{Pixels: pixels, Labels: labels, IDs: ids[from:to], ImageBytes: t.imageBytes(), Classes: t.network.Classes, AtOnce: evaluationImages})
	if err != nil {
		return err
	}
	values := make([]float64, 0, 2*len(images))
	for _, im := range images {
		right := 0.0
		if im.Correct {
			right = 1
		}
		values = append(values, im.Loss, right)
	}
	return t.reporter.part(&ditherv1.Part{Kind: kind, Iteration: k, First: uint32(from), Total: uint32(len(ids)), Values: ditherv1.Float64Tensor(values, int64(to-from), 2)})
}

// gradientNorm computes this trainer's share of the gradient norm over training images without augmentation.
func (t *Trainer) gradientNorm(k uint32) error {
	want := int(t.Run.GetOptions().GetGradientNormImages())
	if want == 0 {
		return nil
	}
	spec := t.Run.GetSpec()
	var ids []uint32
	for _, i := range dataloader.Subset(spec.GetSeed(), len(t.training), want) {
		ids = append(ids, t.training[i])
	}
	atOnce := program.NormImages(t.network.Classes)
	p, err := program.NewSquaredNorm(t.Kernels, t.network, atOnce, spec.GetDataset().GetMean(), spec.GetDataset().GetStd(), Pad)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := t.copyTo(p); err != nil {
		return err
	}
	from, to := t.share(len(ids))
	norms, err := evaluation.SquaredNorms(p, evaluation.Batch{Pixels: t.Data.Train.Pixels, IDs: ids[from:to], ImageBytes: t.imageBytes(), Classes: t.network.Classes, AtOnce: atOnce})
	if err != nil {
		return err
	}
	values := evaluation.SumLogits(norms, t.network.Classes)
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("the gradient norm of training image %d is %v", ids[from+i], v)
		}
	}
	return t.reporter.part(&ditherv1.Part{Kind: ditherv1.PartKind_PART_KIND_GRADIENT_NORM, Iteration: k, First: uint32(from), Total: uint32(len(ids)), Values: ditherv1.Float64Tensor(values, int64(to-from))})
}

// copyTo puts the training program's parameters into another program.
func (t *Trainer) copyTo(p loader) error {
	for _, q := range t.program.Parameters() {
		v := make([]float32, q.Len())
		if err := t.program.Read(q.Name, v); err != nil {
			return err
		}
		if err := p.Load(q.Name, v); err != nil {
			return err
		}
	}
	return nil
}
