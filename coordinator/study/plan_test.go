package study

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

var update = flag.Bool("update", false, "write testdata anew; look at the difference")

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// golden holds text against a file that a person reviews.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o777), os.WriteFile(path, got, 0o666))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("%s is\n%s\nnot\n%s", name, got, want)
	}
}

// digits is a study on the digits (1,437 training images) with some arms.
func digits(design string, arms []*ditherv1.Arm) *ditherv1.StudySpec {
	network := &ditherv1.ModelSpec{Name: "mlp"}
	return &ditherv1.StudySpec{
		Design: design, Arms: arms, Seeds: []uint64{1, 2, 3}, Validation: 0.2, GradientNormImages: 1000, EvalEvery: 1,
		Schedule: &ditherv1.Schedule{Epochs: 4, Milestones: []float64{0.5, 0.75}, Warmup: 0.5},
		Base: &ditherv1.RunSpec{
			Dataset: &ditherv1.DatasetSpec{Name: "digits", Classes: 10, Channels: 1, Height: 32, Width: 32, Mean: []float64{0.485}, Std: []float64{0.229}, TrainSha256: "aa", TestSha256: "bb"},
			Model:   network, Teacher: &ditherv1.TeacherSpec{Model: network, Sha256: "cc", Arithmetic: "cpu/2", View: "original"}, Loss: &ditherv1.LossSpec{Quadratic: 1},
			Optimizer: &ditherv1.OptimizerSpec{Momentum: 0.9, WeightDecay: 1e-4}, Shards: 1, Init: &ditherv1.InitSpec{Kind: "teacher", Sha256: "cc"}, Batchnorm: "shard", Augment: "none", Arithmetic: "cpu/2",
		},
	}
}

const digitImages = 1437

// planText has a line a run, for people to look over.
func planText(runs []Run) []byte {
	var b strings.Builder
	for _, r := range runs {
		o := r.Spec.GetOptimizer()
		fmt.Fprintf(&b, "%s  arm %d seed %d %-6s  %-18s B %-3d eta %-7.4g K %-4d milestones %v warm-up %-3d held out %-3g norm over %-4d K per epoch %-3d eta K/(1-mu) %.4g\n", r.Folder, r.Arm, r.Seed, r.Phase,
			noiseName(r.Spec.GetNoise()), r.Spec.GetBatch(), o.GetLr(), r.Spec.GetIterations(), o.GetMilestones(), o.GetWarmup(), r.Spec.GetDataset().GetValidation(), r.GradientNormImages, r.PerEpoch,
			o.GetLr()*float64(r.Spec.GetIterations())/(1-o.GetMomentum()))
	}
	return []byte(b.String())
}

func TestPlans(t *testing.T) {
	batches, err := Batches([]*ditherv1.NoiseSpec{NoNoise(), Gaussian(4)}, []uint32{32, 64, 128}, 64, 0.02, Sqrt)
	must(t, err)
	etaOverB, err := EtaOverB([]*ditherv1.NoiseSpec{Gaussian(4)}, []uint32{32, 64, 100}, 64, 0.02)
	must(t, err)
	labelNoise, err := LabelNoise(Gaussian(4), []float64{0.5, 1, 2}, 64, 0.02)
	must(t, err)
	for name, s := range map[string]*ditherv1.StudySpec{
		"scales":      digits(ditherv1.DesignScales, Scales([]*ditherv1.NoiseSpec{NoNoise(), Gaussian(0.5), Symmetric(0.3)}, 64, 0.02)),
		"batches":     digits(ditherv1.DesignBatches, batches),
		"eta-over-b":  digits(ditherv1.DesignEtaOverB, etaOverB),
		"label-noise": digits(ditherv1.DesignLabelNoise, labelNoise),
	} {
		if name != "scales" {
			s.Seeds, s.Validation = []uint64{7}, 0
		}
		runs, err := Plan(s, digitImages)
		must(t, err)
		golden(t, "plan-"+name+".txt", planText(runs))
	}
}

func TestDefaultScales(t *testing.T) {
	s := digits(ditherv1.DesignScales, Scales(DefaultScales(), 64, 0.02))
	runs, err := Plan(s, digitImages)
	must(t, err)
	if len(runs) != 23*3*2 {
		t.Errorf("%d runs of 23 arms, 3 seeds and 2 phases", len(runs))
	}
	// After the first seed every arm has a point.
	seen := map[int]bool{}
	for _, r := range runs[:23*2] {
		seen[r.Arm] = true
	}
	if len(seen) != 23 {
		t.Errorf("the first third of the runs has %d arms of 23", len(seen))
	}
}

// A run of a study is the run that `dither run` makes of the same words: run.yaml is what it wrote for
// --dataset digits --model mlp --teacher none --noise none --loss ce --epochs 2 --validation 0.2.
func TestARunOfAStudyIsOrdinary(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "run.yaml"))
	must(t, err)
	file := &ditherv1.RunFile{}
	must(t, fromYAML(text, file))
	want := ditherv1.Hash(file.Spec)
	base := proto.CloneOf(file.Spec)
	base.Noise, base.Seed, base.Iterations, base.Optimizer.Milestones, base.Dataset.Validation = nil, 0, 0, nil, 0
	s := &ditherv1.StudySpec{Design: ditherv1.DesignScales, Base: base, Arms: Scales([]*ditherv1.NoiseSpec{NoNoise()}, 64, 0.1), Seeds: []uint64{1}, Validation: 0.2,
		Schedule: &ditherv1.Schedule{Epochs: 2, Milestones: []float64{0.5, 0.75}}}
	runs, err := Plan(s, digitImages)
	must(t, err)
	if runs[0].Phase != Select || runs[0].Hash != want {
		t.Errorf("the study's run differs: %v", ditherv1.Differences(runs[0].Spec, file.Spec))
	}
}

func TestPlanRefusals(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*ditherv1.StudySpec)
	}{
		{"gaussian sigma2=4, batch 2048, seed 1, phase select: spec: batch: 2048 is more than the 1150 training images", func(s *ditherv1.StudySpec) { s.Arms[1].Batch = 2048 }},
		{"schedule.epochs: 0.001 epochs of 17 iterations are 0", func(s *ditherv1.StudySpec) { s.Schedule.Epochs, s.Schedule.Warmup = 0.001, 0 }},
		{"counted in 32 bits", func(s *ditherv1.StudySpec) { s.Schedule.Epochs = 1e10 }},
		{"arms[2]: its run with seed 1 is that of arms[1]", func(s *ditherv1.StudySpec) {
			s.Arms = append(s.Arms, proto.CloneOf(s.Arms[1]))
			s.Arms[2].Stretch = 1 + 1e-9
		}},
		{"seeds: empty", func(s *ditherv1.StudySpec) { s.Seeds = nil }},
	} {
		s := digits(ditherv1.DesignScales, Scales([]*ditherv1.NoiseSpec{NoNoise(), Gaussian(4)}, 64, 0.02))
		c.change(s)
		if _, err := Plan(s, digitImages); !errors.Is(err, ditherv1.ErrSpec) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want a sentence with %q", err, c.want)
		}
	}
	for _, c := range []struct {
		want string
		err  error
	}{
		{`lr rule: "cubic"`, second(Batches(nil, nil, 64, 0.1, "cubic"))},
		{"batch: 0", second(EtaOverB(nil, nil, 0, 0.1))},
		{"symmetric p=0.3; the test needs gaussian noise", second(LabelNoise(Symmetric(0.3), nil, 64, 0.1))},
		{"gaussian sigma2=0; the test needs", second(LabelNoise(Gaussian(0), nil, 64, 0.1))},
		{"factor: -1", second(LabelNoise(Gaussian(1), []float64{-1}, 64, 0.1))},
	} {
		if !errors.Is(c.err, ditherv1.ErrSpec) || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want a sentence with %q", c.err, c.want)
		}
	}
}

func second(_ []*ditherv1.Arm, err error) error { return err }

// Whatever the sizes: eta K is equal but for rounding to iterations, what the design fixes is fixed, hashes are distinct, parts of the schedule are in order.
func TestDesignsKeepFixedWhatTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3000, 60000).Draw(t, "n")
		lr := rapid.Float64Range(1e-4, 1).Draw(t, "lr")
		sigma2 := rapid.Float64Range(0.01, 100).Draw(t, "sigma2")
		batches := rapid.SliceOfNDistinct(rapid.Uint32Range(8, 256), 2, 4, rapid.ID).Draw(t, "batches")
		factors := rapid.SliceOfNDistinct(rapid.Float64Range(0.1, 8), 2, 4, rapid.ID).Draw(t, "factors")
		epochs := rapid.Float64Range(2, 50).Draw(t, "epochs")
		a, err := EtaOverB([]*ditherv1.NoiseSpec{Gaussian(sigma2)}, batches, 64, lr)
		if err != nil {
			t.Fatal(err)
		}
		b, err := LabelNoise(Gaussian(sigma2), factors, batches[0], lr)
		if err != nil {
			t.Fatal(err)
		}
		for design, arms := range map[string][]*ditherv1.Arm{ditherv1.DesignEtaOverB: a, ditherv1.DesignLabelNoise: b} {
			s := digits(design, arms)
			s.Schedule.Epochs, s.Schedule.Warmup = epochs, 1
			runs, err := Plan(s, n)
			if err != nil {
				t.Fatal(err)
			}
			hashes := map[string]bool{}
			first := map[string]Run{} // by phase
			for _, r := range runs {
				hashes[r.Hash] = true
				o := r.Spec.GetOptimizer()
				size := float64(r.Spec.GetBatch())
				if f, there := first[r.Phase]; !there {
					first[r.Phase] = r
				} else {
					k, kFirst := float64(r.Spec.GetIterations()), float64(f.Spec.GetIterations())
					ratio := o.GetLr() * k / (f.Spec.GetOptimizer().GetLr() * kFirst)
					if slack := (1+0.5/(k-0.5))*(1+0.5/(kFirst-0.5)) - 1; math.Abs(ratio-1) > slack {
						t.Fatalf("%s: eta K is %v times the first's, and rounding makes %v at most", r, ratio, slack)
					}
				}
				labelNoise := o.GetLr() * r.Spec.GetNoise().GetParameters()["sigma2"] / size
				if want := lr * sigma2 / float64(arms[0].GetBatch()) * arms[0].GetLr() / lr * arms[0].GetNoise().GetParameters()["sigma2"] / sigma2; math.Abs(labelNoise/want-1) > 1e-12 {
					t.Fatalf("%s: eta sigma2/B is %v, not %v", r, labelNoise, want)
				}
				if m := o.GetMilestones(); m[0] > m[1] || m[1] > r.Spec.GetIterations() || o.GetWarmup() == 0 || o.GetWarmup() > r.Spec.GetIterations() {
					t.Fatalf("%s: %d iterations, milestones %v, warm-up %d", r, r.Spec.GetIterations(), m, o.GetWarmup())
				}
			}
			if len(hashes) != len(runs) {
				t.Fatalf("%d hashes of %d runs", len(hashes), len(runs))
			}
		}
	})
}

func TestNames(t *testing.T) {
	once := Gaussian(4)
	once.Refresh = "once"
	for want, arms := range map[string][]*ditherv1.Arm{
		"gaussian sigma2=4": {{Noise: Gaussian(4), Batch: 64, Lr: 0.1}, {Noise: NoNoise(), Batch: 64, Lr: 0.1}},
		"gaussian sigma2=4, batch 64, lr 0.1, 2 times as long": {{Noise: Gaussian(4), Batch: 64, Lr: 0.1, Stretch: 2}, {Noise: NoNoise(), Batch: 32, Lr: 0.2}},
		"gaussian sigma2=4, drawn once":                        {{Noise: once, Batch: 64, Lr: 0.1}, {Noise: Gaussian(4), Batch: 64, Lr: 0.1}},
		"laplace b=2":                                          {{Noise: &ditherv1.NoiseSpec{Kind: "service", Service: "laplace", Parameters: map[string]float64{"b": 2}}}},
	} {
		if got := Name(&ditherv1.StudySpec{Arms: arms}, 0); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
