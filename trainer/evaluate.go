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

// Cut is a trainer's part of an evaluation: those of n images that fall to one of so many trainers.
type Cut struct {
	Rank, Trainers int
	// Between is called before every few images, when the state can be copied; its error ends the evaluation.
	Between func() error
}

func (c Cut) of(n int) (from, to int) { return n * c.Rank / c.Trainers, n * (c.Rank + 1) / c.Trainers }

// Evaluate implements Work.
func (s *Share) Evaluate(c Cut) ([]*ditherv1.Part, error) {
	d := s.spec.GetDataset()
	p, err := program.NewInference(s.sets[0], s.network, evaluationImages, d.GetMean(), d.GetStd(), Pad)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := s.copyTo(p); err != nil {
		return nil, err
	}
	test := make([]uint32, s.data.Test.N())
	for i := range test {
		test[i] = uint32(i)
	}
	var parts []*ditherv1.Part
	for _, split := range []struct {
		kind ditherv1.PartKind
		ids  []uint32
		from dataloader.Images
	}{{ditherv1.PartKind_PART_KIND_VALIDATION, s.validation, s.data.Train}, {ditherv1.PartKind_PART_KIND_TEST, test, s.data.Test}} {
		if len(split.ids) == 0 {
			continue
		}
		from, to := c.of(len(split.ids))
		values, err := s.judged(interruptible{p, nil, c.Between}, split.from, split.ids[from:to])
		if err != nil {
			return nil, err
		}
		parts = append(parts, &ditherv1.Part{Kind: split.kind, Iteration: s.applied, First: uint32(from), Total: uint32(len(split.ids)), Values: ditherv1.Float64Tensor(values, int64(to-from), 2)})
	}
	return parts, nil
}

// RoomToEvaluate says whether there is memory for an evaluation beside the training: better before the first iteration than after the last.
func (s *Share) RoomToEvaluate() error {
	d := s.spec.GetDataset()
	p, err := program.NewInference(s.sets[0], s.network, 1, d.GetMean(), d.GetStd(), Pad)
	if err != nil {
		return fmt.Errorf("an evaluation beside the training: %w", err)
	}
	p.Close()
	return nil
}

// judged are the loss of each image, and 1 where it is classified right else 0 [n][2].
func (s *Share) judged(p evaluation.Inference, split dataloader.Images, ids []uint32) ([]float64, error) {
	images, err := evaluation.Images(p, evaluation.Batch{Pixels: split.Pixels, Labels: split.Labels, IDs: ids, ImageBytes: s.imageBytes(), Classes: s.network.Classes, AtOnce: evaluationImages})
	if err != nil {
		return nil, err
	}
	values := make([]float64, 0, 2*len(images))
	for _, im := range images {
		right := 0.0
		if im.Correct {
			right = 1
		}
		values = append(values, im.Loss, right)
	}
	return values, nil
}

// GradientNorm implements Work.
func (s *Share) GradientNorm(images int, c Cut) (*ditherv1.Part, error) {
	var ids []uint32
	for _, i := range dataloader.Subset(s.spec.GetSeed(), len(s.training), images) {
		ids = append(ids, s.training[i])
	}
	d, atOnce := s.spec.GetDataset(), program.NormImages(s.network.Classes)
	p, err := program.NewSquaredNorm(s.sets[0], s.network, atOnce, d.GetMean(), d.GetStd(), Pad)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := s.copyTo(p); err != nil {
		return nil, err
	}
	from, to := c.of(len(ids))
	norms, err := evaluation.SquaredNorms(interruptible{nil, p, c.Between}, evaluation.Batch{Pixels: s.data.Train.Pixels, IDs: ids[from:to], ImageBytes: s.imageBytes(), Classes: s.network.Classes, AtOnce: atOnce})
	if err != nil {
		return nil, err
	}
	values := evaluation.SumLogits(norms, s.network.Classes)
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("the gradient norm of training image %d is %v", ids[from+i], v)
		}
	}
	return &ditherv1.Part{Kind: ditherv1.PartKind_PART_KIND_GRADIENT_NORM, Iteration: s.applied, First: uint32(from), Total: uint32(len(ids)), Values: ditherv1.Float64Tensor(values, int64(to-from))}, nil
}

// copyTo puts the training program's parameters into another program.
func (s *Share) copyTo(p loader) error {
	for _, q := range s.program.Parameters() {
		v := make([]float32, q.Len())
		if err := s.program.Read(q.Name, v); err != nil {
			return err
		}
		if err := p.Load(q.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// interruptible is a program that asks before every few images whether to go on.
type interruptible struct {
	logits  evaluation.Inference
	norms   evaluation.Norms
	between func() error
}

func (p interruptible) Logits(pixels []byte, geometry []int32, n int, out []float32) error {
	if err := p.between(); err != nil {
		return err
	}
	return p.logits.Logits(pixels, geometry, n, out)
}

func (p interruptible) SquaredNorms(pixels []byte, n int, out []float32) error {
	if err := p.between(); err != nil {
		return err
	}
	return p.norms.SquaredNorms(pixels, n, out)
}
