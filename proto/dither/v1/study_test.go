package ditherv1

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func sampleStudy() *StudySpec {
	base := sample()
	base.Noise, base.Seed, base.Iterations, base.Batch, base.Optimizer = nil, 0, 0, 0, &OptimizerSpec{Momentum: 0.9}
	gaussian := func(sigma2 float64) *NoiseSpec {
		return &NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": sigma2}, Refresh: "iteration"}
	}
	return &StudySpec{Design: DesignScales, Base: base, Seeds: []uint64{1, 2}, Validation: 0.2, Schedule: &Schedule{Epochs: 6, Milestones: []float64{0.5}, Warmup: 1},
		Arms: []*Arm{{Noise: &NoiseSpec{Kind: "none", Refresh: "iteration"}, Batch: 48, Lr: 0.1}, {Noise: gaussian(4), Batch: 48, Lr: 0.1}}, GradientNormImages: 100}
}

// The text is the identity of a study: this changes only with canonicalStudyVersion.
func TestCanonicalStudyText(t *testing.T) {
	text := CanonicalStudy(sampleStudy())
	for _, want := range []string{
		"dither.v1.StudySpec/1\ndesign=\"scales\"\nbase.dataset.name=\"cifar10\"\n",
		`arms[0].noise.kind="none"
arms[0].noise.refresh="iteration"
arms[0].batch=48
arms[0].lr=3fb999999999999a
arms[1].noise.kind="gaussian"
arms[1].noise.parameters[sigma2]=4010000000000000
arms[1].noise.refresh="iteration"
arms[1].batch=48
arms[1].lr=3fb999999999999a
seeds[0]=1
seeds[1]=2
validation=3fc999999999999a
schedule.epochs=4018000000000000
schedule.milestones[0]=3fe0000000000000
schedule.warmup=3ff0000000000000
gradient_norm_images=100
`} {
		if !strings.Contains(text, want) {
			t.Errorf("the canonical text has no\n%s\nit is\n%s", want, text)
		}
	}
	if got, want := StudyHash(sampleStudy()), "dd10b138af338c1820a8fde5421f07b736d34a69f781c7fc3bed00a4ee556068"; got != want {
		t.Errorf("hash is %s, want %s", got, want)
	}
}

func TestEveryPartOfAStudyChangesItsHash(t *testing.T) {
	for i, change := range []func(*StudySpec){
		func(s *StudySpec) { s.Arms[0], s.Arms[1] = s.Arms[1], s.Arms[0] }, func(s *StudySpec) { s.Arms = s.Arms[:1] }, func(s *StudySpec) { s.Arms[1].Noise.Parameters["sigma2"] = 5 },
		func(s *StudySpec) { s.Seeds = append(s.Seeds, 3) }, func(s *StudySpec) { s.Schedule.Warmup = 0 }, func(s *StudySpec) { s.EvalEvery = 1 }, func(s *StudySpec) { s.Base.Seed = 1 },
		func(s *StudySpec) { s.Arms[1].Stretch = 2 }, func(s *StudySpec) { s.TeacherEpochs = 3 },
	} {
		s := sampleStudy()
		change(s)
		if StudyHash(s) == StudyHash(sampleStudy()) {
			t.Errorf("change %d left the hash as it was", i)
		}
	}
}

func TestValidateStudyNamesWhatIsWrong(t *testing.T) {
	if err := ValidateStudy(sampleStudy()); err != nil {
		t.Fatalf("a sound study is refused: %v", err)
	}
	untrained := sampleStudy()
	untrained.TeacherEpochs, untrained.Base.Teacher.Sha256 = 3, ""
	if err := ValidateStudy(untrained); err != nil {
		t.Errorf("a study that trains its teacher is refused: %v", err)
	}
	symmetric := func(p float64) *NoiseSpec {
		return &NoiseSpec{Kind: "symmetric", Parameters: map[string]float64{"p": p}, Refresh: "iteration"}
	}
	for _, c := range []struct {
		want   string
		change func(*StudySpec)
	}{
		{`design: "grid"; it is scales, batches, eta-over-b or label-noise`, func(s *StudySpec) { s.Design = "grid" }},
		{"validation: 1; the fraction held out must lie in [0, 1)", func(s *StudySpec) { s.Validation = 1 }},
		{"validation: NaN", func(s *StudySpec) { s.Validation = math.NaN() }},
		{"base: unset", func(s *StudySpec) { s.Base = nil }},
		{"base.seed: set; leave it out, for seeds has them", func(s *StudySpec) { s.Base.Seed = 1 }},
		{"base.noise: set", func(s *StudySpec) { s.Base.Noise = symmetric(0.1) }},
		{"base.optimizer.milestones: set", func(s *StudySpec) { s.Base.Optimizer.Milestones = []uint32{1} }},
		{"base.dataset.validation: set", func(s *StudySpec) { s.Base.Dataset.Validation = 0.2 }},
		{"teacher.sha256: unset", func(s *StudySpec) { s.Base.Teacher.Sha256 = "" }},
		{"seeds: empty", func(s *StudySpec) { s.Seeds = nil }},
		{"seeds[2]: 1 is there already as seeds[0]", func(s *StudySpec) { s.Seeds = []uint64{1, 2, 1} }},
		{"schedule.epochs: 0; the length of a run must be positive", func(s *StudySpec) { s.Schedule = nil }},
		{"schedule.warmup: 7", func(s *StudySpec) { s.Schedule.Warmup = 7 }},
		{"schedule.milestones[0]: 100; it is a fraction", func(s *StudySpec) { s.Schedule.Milestones = []float64{100} }},
		{"schedule.milestones: [0.75 0.5] are not in ascending order", func(s *StudySpec) { s.Schedule.Milestones = []float64{0.75, 0.5} }},
		{"teacher_epochs: -1", func(s *StudySpec) { s.TeacherEpochs = -1 }},
		{"arms: empty", func(s *StudySpec) { s.Arms = nil }},
		{"arms[1].noise: unset", func(s *StudySpec) { s.Arms[1].Noise = nil }},
		{"arms[1]: spec: noise.sigma2: -1; the variance of Gaussian noise", func(s *StudySpec) { s.Arms[1].Noise.Parameters["sigma2"] = -1 }},
		{"arms[1]: spec: noise.p: 1.5; the probability of a swap must lie in [0, 1]", func(s *StudySpec) { s.Arms[1].Noise = symmetric(1.5) }},
		{"arms[1].noise.parameters: gaussian noise has no parameter sigma; it has sigma2", func(s *StudySpec) { s.Arms[1].Noise.Parameters = map[string]float64{"sigma": 1} }},
		{"arms[0].noise.parameters: none noise has no parameter p", func(s *StudySpec) { s.Arms[0].Noise.Parameters = map[string]float64{"p": 1} }},
		{"arms[1]: it is the same as arms[0]", func(s *StudySpec) { s.Arms[1] = &Arm{Noise: s.Arms[0].Noise, Batch: 48, Lr: 0.1, Stretch: 1} }},
		{"arms[1]: spec: shards: 6 shards do not divide a batch of 32", func(s *StudySpec) { s.Arms[1].Batch = 32 }},
		{"arms[1]: spec: optimizer.lr: 0", func(s *StudySpec) { s.Arms[1].Lr = 0 }},
		{"arms[1].stretch: -1", func(s *StudySpec) { s.Arms[1].Stretch = -1 }},
		{"arms[1]: lr/batch is 0.00104167 and that of arms[0] is 0.00208333; the design eta-over-b keeps it fixed", func(s *StudySpec) {
			s.Design = DesignEtaOverB
			s.Arms[1] = &Arm{Noise: s.Arms[0].Noise, Batch: 96, Lr: 0.1}
		}},
		{"arms[1].stretch: lr stretch/batch is", func(s *StudySpec) {
			s.Design = DesignEtaOverB
			s.Arms[1] = &Arm{Noise: s.Arms[0].Noise, Batch: 96, Lr: 0.2, Stretch: 2}
		}},
		{"arms[1]: lr sigma2/batch is", func(s *StudySpec) {
			s.Design = DesignLabelNoise
			s.Arms[0] = &Arm{Noise: s.Arms[1].Noise, Batch: 48, Lr: 0.2}
		}},
		{"arms[0].noise: none; the design label-noise needs gaussian noise", func(s *StudySpec) { s.Design = DesignLabelNoise }},
	} {
		s := sampleStudy()
		c.change(s)
		if err := ValidateStudy(s); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want a sentence with %q", err, c.want)
		}
	}
}
