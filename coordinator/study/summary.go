package study

import (
	"cmp"
	"errors"
	"slices"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// ErrSeeds: an interval was asked for and there are fewer than two seeds.
var ErrSeeds = errors.New("an interval over seeds needs at least two of them")

// CheckSeeds is ErrSeeds where a study can give no interval.
func CheckSeeds(s *ditherv1.StudySpec) error {
	if len(s.GetSeeds()) < 2 {
		return ErrSeeds
	}
	return nil
}

// Summarise is what a study shows, as far as its runs are there: a function of the spec and of what was measured, whatever the order of the outcomes. teacher may be nil.
func Summarise(spec *ditherv1.StudySpec, teacher *Teacher, outcomes []Outcome) *Summary {
	s := &Summary{Spec: spec, SpecHash: ditherv1.StudyHash(spec), Teacher: teacher, Runs: len(outcomes), Outcomes: slices.Clone(outcomes)}
	slices.SortFunc(s.Outcomes, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Arm, b.Arm), -cmp.Compare(a.Phase, b.Phase), // select, refit
			cmp.Compare(slices.Index(spec.GetSeeds(), a.Seed), slices.Index(spec.GetSeeds(), b.Seed)))
	})
	for _, o := range s.Outcomes {
		switch o.State {
		case Finished:
			s.Finished++
		case Diverged:
			s.Diverged++
		}
	}
	for arm := range spec.GetArms() {
		s.Points = append(s.Points, s.point(arm))
	}
	if spec.GetDesign() == ditherv1.DesignScales {
		s.Choices = s.choices()
	}
	s.Claims = s.claims()
	return s
}

// measures are numbers of an outcome.
type measure func(*Outcome) *float64

func gradientNorm(o *Outcome) *float64       { return o.GradientNorm }
func validationAccuracy(o *Outcome) *float64 { return o.ValidationAccuracy }
func testAccuracy(o *Outcome) *float64       { return o.TestAccuracy }
func testLoss(o *Outcome) *float64           { return o.TestLoss }
func trainingLoss(o *Outcome) *float64       { return o.TrainingLoss }

// value is a number of a finished run, with its seed.
type value struct {
	seed uint64
	v    float64
}

// values are those of an arm's finished runs of a phase, in the order of the seeds.
func (s *Summary) values(arm int, phase string, m measure) []value {
	var out []value
	for i := range s.Outcomes {
		o := &s.Outcomes[i]
		if o.Arm != arm || o.Phase != phase || o.State != Finished {
			continue
		}
		if v := m(o); v != nil {
			out = append(out, value{o.Seed, *v})
		}
	}
	return out
}

func numbers(values []value) []float64 {
	var out []float64
	for _, v := range values {
		out = append(out, v.v)
	}
	return out
}

func (s *Summary) point(arm int) Point {
	a := s.Spec.GetArms()[arm]
	over := func(phase string, m measure) *Estimate { return estimate(numbers(s.values(arm, phase, m))) }
	p := Point{Arm: arm, Name: Name(s.Spec, arm), Noise: kind(a.GetNoise()), Scale: scale(a.GetNoise()), Batch: a.GetBatch(), LR: a.GetLr(),
		GradientNorm: over(Refit, gradientNorm), ValidationAccuracy: over(Select, validationAccuracy), TestAccuracy: over(Refit, testAccuracy),
		TestLoss: over(Refit, testLoss), TrainingLoss: over(Refit, trainingLoss)}
	for _, o := range s.Outcomes {
		if o.Arm != arm {
			continue
		}
		p.Runs++
		switch o.State {
		case Finished:
			p.Finished++
		case Diverged:
			p.Diverged++
		}
		if o.Phase == Refit {
			p.Iterations = o.Spec.GetIterations()
		}
	}
	return p
}

// choices are the best arm of each noise, in the order of the arms: greatest mean validation accuracy, ties by the smaller scale. Means are compared over as many seeds as any arm of the noise has, so that an
// arm is not chosen for its luck with one seed, nor one that diverged with others. Nothing of the test images goes into it.
func (s *Summary) choices() []Choice {
	var out []Choice
	for _, noise := range s.noises() {
		best := -1
		for _, arm := range s.armsOf(noise) {
			p := &s.Points[arm]
			if p.ValidationAccuracy == nil {
				continue
			}
			if best < 0 {
				best = arm
				continue
			}
			b := &s.Points[best]
			if cmp.Or(cmp.Compare(p.ValidationAccuracy.N, b.ValidationAccuracy.N), cmp.Compare(p.ValidationAccuracy.Mean, b.ValidationAccuracy.Mean), cmp.Compare(b.Scale, p.Scale)) > 0 {
				best = arm
			}
		}
		if best >= 0 {
			out = append(out, Choice{Noise: noise, Arm: best, Validation: s.Points[best].ValidationAccuracy, Test: s.Points[best].TestAccuracy})
		}
	}
	return out
}

// noises are the kinds of noise of the arms, each once, in the order of the arms.
func (s *Summary) noises() []string {
	var out []string
	for i := range s.Points {
		if !slices.Contains(out, s.Points[i].Noise) {
			out = append(out, s.Points[i].Noise)
		}
	}
	return out
}

func (s *Summary) armsOf(noise string) []int {
	var out []int
	for i := range s.Points {
		if s.Points[i].Noise == noise {
			out = append(out, i)
		}
	}
	return out
}
