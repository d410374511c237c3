package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// invented is a world of numbers in which a study could have been made: measures of an arm, as a smooth function of its setting and a wobble by seed.
type invented struct {
	spec     *ditherv1.StudySpec
	outcomes []study.Outcome
}

func noiseOf(kind string, scale float64) *ditherv1.NoiseSpec {
	n := &ditherv1.NoiseSpec{Kind: kind, Refresh: "iteration"}
	switch kind {
	case "gaussian":
		n.Parameters = map[string]float64{"sigma2": scale}
	case "symmetric":
		n.Parameters = map[string]float64{"p": scale}
	}
	return n
}

func studySpec(design string, arms ...*ditherv1.Arm) *ditherv1.StudySpec {
	s := &ditherv1.StudySpec{Design: design, Arms: arms, Seeds: []uint64{1, 2, 3}, Schedule: &ditherv1.Schedule{Epochs: 12, Milestones: []float64{0.5, 0.75}}, GradientNormImages: 1000, EvalEvery: 1,
		Base: &ditherv1.RunSpec{Dataset: &ditherv1.DatasetSpec{Name: "digits", Classes: 10}, Model: &ditherv1.ModelSpec{Name: "resnet8"}, Optimizer: &ditherv1.OptimizerSpec{Momentum: 0.9}, Arithmetic: "cpu/2"}}
	if design == "scales" {
		s.Validation = 0.2
	}
	return s
}

func arm(kind string, scale float64, batch uint32, lr float64) *ditherv1.Arm {
	return &ditherv1.Arm{Noise: noiseOf(kind, scale), Batch: batch, Lr: lr}
}

func stretch(a *ditherv1.Arm) float64 {
	if a.Stretch == 0 {
		return 1
	}
	return a.Stretch
}

// outcome is what a run of an arm could have measured.
func (w *invented) outcome(index int, seed uint64, phase string) study.Outcome {
	a := w.spec.Arms[index]
	scale := 0.0
	for _, v := range a.Noise.Parameters {
		scale = v
	}
	if a.Noise.Kind == "symmetric" {
		scale *= 8
	}
	wobble := math.Sin(float64(seed)*7.1 + float64(index)*1.3)
	o := study.Outcome{Run: study.Run{Arm: index, Seed: seed, Phase: phase, Folder: fmt.Sprintf("runs/%016x", uint64(index)*1000+seed*10+uint64(len(phase))), Spec: w.spec.Base, PerEpoch: int(1437 / a.Batch)}, State: study.Finished,
		ParametersSHA256: strings.Repeat(fmt.Sprintf("%02x", index*7+int(seed)), 32), ImagesPerSecond: 900 - 8000/float64(a.Batch) + 5*wobble,
		TrainingLoss: pointer(0.4 + 0.5*scale + 0.02*wobble)}
	accuracy := 0.90 + 0.02*math.Exp(-(scale-3)*(scale-3)/8) - 0.004*scale*scale/10 + 0.003*wobble
	if phase == study.Select {
		o.ValidationAccuracy = pointer(accuracy - 0.01)
		return o
	}
	o.TestAccuracy, o.TestLoss = pointer(accuracy), pointer(0.4-0.05*accuracy+0.01*wobble)
	o.GradientNorm, o.GradientNormImages = pointer(7400*math.Exp(-scale/6)*math.Sqrt(64/float64(a.Batch))+150*wobble), 1000
	for e := 1; e <= int(math.Round(12*stretch(a))); e++ {
		x := float64(e) / stretch(a)
		o.Epochs = append(o.Epochs, study.Epoch{Epoch: float64(e), TrainingLoss: 20*math.Exp(-x/2) + *o.TrainingLoss + 0.1*wobble, TestLoss: pointer(0.35 + 2*math.Exp(-x/2.5) + 0.02*wobble), TestAccuracy: pointer(accuracy * (1 - math.Exp(-x/1.5)))})
	}
	return o
}

// worldOf is a study in which everything is finished, but for what change does to it.
func worldOf(spec *ditherv1.StudySpec, change func(*study.Outcome)) *study.Summary {
	w := &invented{spec: spec}
	for i := range spec.Arms {
		for _, phase := range []string{study.Select, study.Refit} {
			for _, seed := range spec.Seeds {
				if phase == study.Select && spec.Validation == 0 {
					continue
				}
				o := w.outcome(i, seed, phase)
				if change != nil {
					change(&o)
				}
				if o.State != study.Finished {
					o = study.Outcome{Run: o.Run, State: o.State, Reason: o.Reason}
				}
				w.outcomes = append(w.outcomes, o)
			}
		}
	}
	return w.summary()
}

// summary gathers the outcomes.
func (w *invented) summary() *study.Summary {
	s := &study.Summary{Spec: w.spec, SpecHash: strings.Repeat("ab12", 16), Outcomes: w.outcomes, Runs: len(w.outcomes),
		Teacher: &study.Teacher{SHA256: strings.Repeat("7e", 32), Model: "resnet8", TestAccuracy: pointer(0.9132), TestLoss: pointer(0.31), GradientNorm: pointer(7900.0), GradientNormImages: 1000}}
	best := map[string]int{}
	for i, a := range w.spec.Arms {
		p := study.Point{Arm: i, Noise: a.Noise.Kind, Batch: a.Batch, LR: a.Lr, Iterations: uint32(math.Round(12*stretch(a))) * (1437 / a.Batch), Name: a.Noise.Kind}
		for k, v := range a.Noise.Parameters {
			p.Scale = v
			p.Name += fmt.Sprintf(" %s=%v", k, v)
		}
		if w.spec.Design != "scales" {
			p.Name += fmt.Sprintf(", batch %d, lr %v", a.Batch, a.Lr)
		}
		over := func(of func(*study.Outcome) *float64) *study.Estimate {
			var values []float64
			for j := range w.outcomes {
				if o := &w.outcomes[j]; o.Arm == i && o.State == study.Finished && of(o) != nil {
					values = append(values, *of(o))
				}
			}
			return study.NewEstimate(values)
		}
		p.GradientNorm = over(func(o *study.Outcome) *float64 { return o.GradientNorm })
		p.ValidationAccuracy = over(func(o *study.Outcome) *float64 { return o.ValidationAccuracy })
		p.TestAccuracy = over(func(o *study.Outcome) *float64 { return o.TestAccuracy })
		p.TestLoss = over(func(o *study.Outcome) *float64 { return o.TestLoss })
		p.TrainingLoss = over(func(o *study.Outcome) *float64 {
			if o.Phase == study.Refit {
				return o.TrainingLoss
			}
			return nil
		})
		for _, o := range w.outcomes {
			if o.Arm != i {
				continue
			}
			p.Runs++
			switch o.State {
			case study.Finished:
				p.Finished++
				s.Finished++
			case study.Diverged:
				p.Diverged++
				s.Diverged++
			}
		}
		s.Points = append(s.Points, p)
		if p.ValidationAccuracy != nil {
			b, there := best[p.Noise]
			if !there || s.Points[b].ValidationAccuracy.Mean < p.ValidationAccuracy.Mean {
				best[p.Noise] = i
			}
		}
	}
	for _, noise := range []string{noiseNone, "gaussian", "symmetric"} {
		if b, there := best[noise]; there {
			s.Choices = append(s.Choices, study.Choice{Noise: noise, Arm: b, Validation: s.Points[b].ValidationAccuracy, Test: s.Points[b].TestAccuracy})
		}
	}
	s.Claims = []study.Claim{
		{Text: "The gradient norm falls as the variance of Gaussian noise grows.", Verdict: study.Shown, Measure: "Spearman's correlation of gradient norm and sigma2", Value: pointer(-0.97), Low: pointer(-1.0), High: pointer(-0.91), N: 21, Interval: "bootstrap over seeds, 10,000 draws, percentiles", Why: "the interval lies below 0"},
		{Text: "The chosen Gaussian noise tests better than noiseless distillation.", Verdict: study.NotShown, Measure: "difference of test accuracy", Value: pointer(0.0021), Low: pointer(-0.004), High: pointer(0.0082), N: 3, Interval: "paired by seed, Student's t", Why: "the interval holds 0"},
		{Text: "The gradient norm falls as p grows.", Verdict: study.Contradicted, Measure: "Spearman's correlation of gradient norm and p", Value: pointer(0.4), Low: pointer(0.1), High: pointer(0.7), N: 15, Interval: "bootstrap over seeds", Why: "the interval lies above 0"},
	}
	return s
}

func scalesSpec() *ditherv1.StudySpec {
	arms := []*ditherv1.Arm{arm(noiseNone, 0, 64, 0.1)}
	for _, v := range []float64{0.1, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10} {
		arms = append(arms, arm("gaussian", v, 64, 0.1))
	}
	for _, v := range []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1} {
		arms = append(arms, arm("symmetric", v, 64, 0.1))
	}
	return studySpec("scales", arms...)
}
