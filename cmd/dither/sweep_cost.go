package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/evaluation"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/program"
)

// startSeconds is what a run takes to start and to end: processes, an etcd, the data.
const startSeconds = 1

// sweepCost is what a study costs before it starts: what `dither sweep --dry-run --json` prints.
type sweepCost struct {
	Study          string    `json:"study"` // its folder
	SHA256         string    `json:"study_sha256"`
	Runs           int       `json:"runs"`            // of this part
	RunsOver       int       `json:"runs_over"`       // of them, finished or diverged
	Iterations     uint64    `json:"iterations"`      // of this part's runs
	IterationsLeft uint64    `json:"iterations_left"` // of those that are not over
	Parallel       int       `json:"parallel"`
	Threads        int       `json:"threads"` // of each trainer
	Seconds        float64   `json:"seconds"` // estimated, for what is left
	Measured       []pace    `json:"measured"`
	Plan           []planned `json:"plan"`
}

// pace is what was measured of the study's network at a batch size.
type pace struct {
	Batch       uint32  `json:"batch"`
	StepMS      float64 `json:"step_ms"`          // forward, backward, update
	TeacherMS   float64 `json:"teacher_ms"`       // the teacher's logits of a batch, which the cache saves in time
	ImageMS     float64 `json:"evaluation_ms"`    // an image through the network
	NormImageMS float64 `json:"gradient_norm_ms"` // an image's part of the gradient norm
}

// planned is a run of the plan.
type planned struct {
	Name       string      `json:"name"`
	Seed       uint64      `json:"seed"`
	Phase      string      `json:"phase"`
	Batch      uint32      `json:"batch"`
	LR         float64     `json:"lr"`
	Iterations uint32      `json:"iterations"`
	Folder     string      `json:"folder"` // "": not known before the teacher is trained
	State      study.State `json:"state"`
	Seconds    float64     `json:"seconds"` // estimated
}

func (c *sweepCost) sentence() string {
	text := fmt.Sprintf("%d runs, %d iterations in all", c.Runs, c.Iterations)
	if c.RunsOver > 0 {
		text += fmt.Sprintf("; %d runs are over, and %d iterations are left", c.RunsOver, c.IterationsLeft)
	}
	if c.RunsOver == c.Runs {
		return text
	}
	return text + fmt.Sprintf("; about %s with %d side by side on %d threads each", formatDuration(time.Duration(c.Seconds*float64(time.Second))), c.Parallel, c.Threads)
}

// cost measures how fast the study's networks are here, and says what is left to do.
func (s *sweep) cost(ctx context.Context) (*sweepCost, error) {
	n := processors()
	flags := s.runFlags(n)
	c := &sweepCost{Study: s.dir, SHA256: ditherv1.StudyHash(s.spec), Parallel: s.parallel(n), Threads: int(flags.threads)}
	paces := map[uint32]pace{}
	sum := 0.0
	for i, r := range s.runs {
		if !s.mine(i) {
			continue
		}
		o := s.outcomes[i]
		p := planned{Name: study.Name(s.spec, r.Arm), Seed: r.Seed, Phase: r.Phase, Batch: r.Spec.Batch, LR: r.Spec.Optimizer.Lr, Iterations: r.Spec.Iterations, State: o.State}
		if !s.untrained() {
			p.Folder = r.Folder
		}
		c.Runs++
		c.Iterations += uint64(r.Spec.Iterations)
		if isOver(o) {
			c.RunsOver++
		} else {
			at, known := paces[r.Spec.Batch]
			if !known {
				var err error
				if at, err = s.measurePace(ctx, r.Spec, flags); err != nil {
					return nil, err
				}
				paces[r.Spec.Batch] = at
				c.Measured = append(c.Measured, at)
			}
			c.IterationsLeft += uint64(r.Spec.Iterations)
			p.Seconds = s.seconds(r, at)
			sum += p.Seconds
		}
		c.Plan = append(c.Plan, p)
	}
	c.Seconds = sum / float64(max(1, min(c.Parallel, c.Runs-c.RunsOver)))
	if s.untrained() && len(c.Plan) > 0 {
		at := paces[c.Plan[0].Batch]
		c.Seconds += s.spec.TeacherEpochs * float64(s.data.Train.N()) / float64(at.Batch) * at.StepMS / 1e3
	}
	return c, nil
}

// seconds is what a run will take: its iterations, its evaluations and its gradient norm.
func (s *sweep) seconds(r study.Run, at pace) float64 {
	test, held := float64(s.data.Test.N()), 0.0
	if r.Phase == study.Select {
		held = s.spec.Validation * float64(s.data.Train.N())
	}
	evaluations := 1.0
	if r.EvalEvery > 0 {
		evaluations = float64(r.Spec.Iterations) / float64(r.PerEpoch*r.EvalEvery)
	}
	ms := float64(r.Spec.Iterations)*(at.StepMS+at.TeacherMS) + evaluations*(test+held)*at.ImageMS + float64(r.GradientNormImages)*at.NormImageMS
	return startSeconds + ms/1e3
}

// measurePace times a few steps of the actual network on the actual kernels, on so many threads as a run will have.
func (s *sweep) measurePace(ctx context.Context, spec *ditherv1.RunSpec, flags *runFlags) (p pace, err error) {
	p.Batch = spec.Batch
	threads := int(flags.threads * flags.crew.children)
	sets, err := openKernelsFor(gpuUser{gpus: int(flags.gpus)}, flags.kernels, flags.precision, threads)
	if err != nil {
		return p, err
	}
	defer closeAll(sets)
	kernels := sets[0]
	// A step on the labels takes what one on soft labels does, but for the last layer.
	bare := proto.CloneOf(spec)
	bare.Teacher, bare.Noise, bare.Loss, bare.Init = nil, nil, &ditherv1.LossSpec{Ce: 1}, &ditherv1.InitSpec{Kind: "random"}
	bare.Optimizer.Lr = 1e-6 // whatever the study asks for, these steps stay sound
	share, err := trainer.NewShare(sets, s.data, bare, versionString(), 0, int(bare.Shards))
	if err != nil {
		return p, badInput(err)
	}
	defer share.Close()
	if err := share.Start(nil); err != nil {
		return p, err
	}
	reducer := allreduce.New(allreduce.Group{Ranges: []allreduce.Range{{First: 0, End: int(bare.Shards)}}}, nil, allreduce.Options{})
	defer reducer.Close()
	k := uint32(0)
	ms, err := timed(ctx, 1, 3, func() error {
		k++
		_, err := share.Iterate(reducer, k, nil, nil, &ditherv1.IterationRecord{})
		return err
	})
	if err != nil {
		return p, err
	}
	p.StepMS = median(ms)
	if p.ImageMS, err = s.imagePace(ctx, kernels, spec, spec.Model); err != nil {
		return p, err
	}
	if t := spec.GetTeacher().GetModel(); t != nil {
		image, err := s.imagePace(ctx, kernels, spec, t)
		if err != nil {
			return p, err
		}
		p.TeacherMS = image * float64(spec.Batch)
	}
	if s.spec.GradientNormImages > 0 {
		p.NormImageMS, err = s.normPace(ctx, kernels, spec)
	}
	return p, err
}

func (s *sweep) someImages(n, atOnce int) evaluation.Batch {
	im := s.data.Train
	n = min(n, im.N())
	return evaluation.Batch{Pixels: im.Pixels, Labels: im.Labels, IDs: ascending(0, n), ImageBytes: s.data.Channels * s.data.Height * s.data.Width, Classes: s.data.Classes, AtOnce: atOnce}
}

// imagePace is what an image through a network takes, in ms.
func (s *sweep) imagePace(ctx context.Context, kernels kernel.Set, spec *ditherv1.RunSpec, network *ditherv1.ModelSpec) (float64, error) {
	p, err := program.NewInference(kernels, trainer.ModelSpec(network, spec.Dataset), evalImages, spec.Dataset.Mean, spec.Dataset.Std, trainer.Pad)
	if err != nil {
		return 0, badInput(err)
	}
	defer p.Close()
	if err := trainer.StartRandom(p, 1); err != nil {
		return 0, err
	}
	batch := s.someImages(evalImages, evalImages)
	ms, err := timed(ctx, 1, 1, func() error {
		_, err := evaluation.Logits(p, batch)
		return err
	})
	if err != nil {
		return 0, err
	}
	return ms[0] / float64(len(batch.IDs)), nil
}

// normPace is what an image of the gradient norm takes, in ms.
func (s *sweep) normPace(ctx context.Context, kernels kernel.Set, spec *ditherv1.RunSpec) (float64, error) {
	atOnce := program.NormImages(s.data.Classes)
	p, err := program.NewSquaredNorm(kernels, trainer.ModelSpec(spec.Model, spec.Dataset), atOnce, spec.Dataset.Mean, spec.Dataset.Std, trainer.Pad)
	if err != nil {
		return 0, badInput(err)
	}
	defer p.Close()
	if err := trainer.StartRandom(p, 1); err != nil {
		return 0, err
	}
	batch := s.someImages(atOnce, atOnce)
	ms, err := timed(ctx, 1, 1, func() error {
		_, err := evaluation.SquaredNorms(p, batch)
		return err
	})
	if err != nil {
		return 0, err
	}
	return ms[0] / float64(len(batch.IDs)), nil
}

// printPlan is what --dry-run shows a person.
func (s *sweep) printPlan(w io.Writer, c *sweepCost) {
	var rows [][]string
	for _, p := range c.Plan {
		folder := p.Folder
		if folder == "" {
			folder = "-"
		}
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Seed), p.Phase, fmt.Sprint(p.Batch), fmt.Sprintf("%.6g", p.LR), fmt.Sprint(p.Iterations), string(p.State), folder})
	}
	table(w, []string{"setting", "seed", "phase", "batch", "lr", "iterations", "state", "folder"}, rows)
	fmt.Fprintf(w, "\n%s\n", c.sentence())
}
