package ditherv1

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func sample() *RunSpec {
	return &RunSpec{
		Dataset: &DatasetSpec{Name: "cifar10", Classes: 10, Channels: 3, Height: 32, Width: 32, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}, TrainSha256: "aa", TestSha256: "bb"},
		Model:   &ModelSpec{Name: "resnet20", Shortcut: "A"}, Teacher: &TeacherSpec{Model: &ModelSpec{Name: "resnet20", Shortcut: "A"}, Sha256: "cc", Arithmetic: "cpu/2", View: "augmented"},
		Noise: &NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": 1}, Refresh: "iteration"}, Loss: &LossSpec{Quadratic: 1},
		Optimizer: &OptimizerSpec{Lr: 0.1, Momentum: 0.9, WeightDecay: 1e-4, Milestones: []uint32{3, 4}, Gamma: 0.1},
		Batch:     48, Shards: 6, Iterations: 6, Seed: 1, Init: &InitSpec{Kind: "random"}, Batchnorm: "shard", Augment: "standard", Arithmetic: "cpu/2",
	}
}

// The text is part of every run's identity: this file changes only with canonicalVersion.
const sampleText = `dither.v1.RunSpec/1
dataset.name="cifar10"
dataset.classes=10
dataset.channels=3
dataset.height=32
dataset.width=32
dataset.mean[0]=3fdf0a3d70a3d70a
dataset.mean[1]=3fdd2f1a9fbe76c9
dataset.mean[2]=3fd9fbe76c8b4396
dataset.std[0]=3fcd4fdf3b645a1d
dataset.std[1]=3fccac083126e979
dataset.std[2]=3fcccccccccccccd
dataset.train_sha256="aa"
dataset.test_sha256="bb"
model.name="resnet20"
model.shortcut="A"
teacher.model.name="resnet20"
teacher.model.shortcut="A"
teacher.sha256="cc"
teacher.arithmetic="cpu/2"
teacher.view="augmented"
noise.kind="gaussian"
noise.parameters[sigma2]=3ff0000000000000
noise.refresh="iteration"
loss.quadratic=3ff0000000000000
optimizer.lr=3fb999999999999a
optimizer.momentum=3feccccccccccccd
optimizer.weight_decay=3f1a36e2eb1c432d
optimizer.milestones[0]=3
optimizer.milestones[1]=4
optimizer.gamma=3fb999999999999a
batch=48
shards=6
iterations=6
seed=1
init.kind="random"
batchnorm="shard"
augment="standard"
arithmetic="cpu/2"
`

func TestCanonicalText(t *testing.T) {
	if got := Canonical(sample()); got != sampleText {
		t.Errorf("canonical text is\n%s", got)
	}
	if got, want := Hash(sample()), "822f97240260600c9305a32736ce5540069784f1cbd21eb7dfd5b8e4edf4826d"; got != want {
		t.Errorf("hash is %s, want %s", got, want)
	}
}

func TestEveryFieldChangesTheHash(t *testing.T) {
	for _, change := range []func(*RunSpec){
		func(s *RunSpec) { s.Seed = 2 }, func(s *RunSpec) { s.Shards = 3 }, func(s *RunSpec) { s.Noise.Parameters["sigma2"] = 2 },
		func(s *RunSpec) { s.Optimizer.Lr = math.Nextafter(0.1, 1) }, func(s *RunSpec) { s.Optimizer.Milestones = []uint32{3} }, func(s *RunSpec) { s.Noise.Service = "x" },
		func(s *RunSpec) { s.Arithmetic = "cpu/2" }, func(s *RunSpec) { s.Teacher = nil },
	} {
		s := sample()
		change(s)
		if Hash(s) == Hash(sample()) {
			t.Errorf("the change %v left the hash as it was", Differences(sample(), s))
		}
		if len(Differences(sample(), s)) == 0 {
			t.Error("a changed spec has no named difference")
		}
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	if err := Validate(sample()); err != nil {
		t.Fatalf("a sound spec is refused: %v", err)
	}
	for _, c := range []struct {
		want   string
		change func(*RunSpec)
	}{
		{"5 shards do not divide a batch of 48; choose --shards among its divisors, such as 4 or 6", func(s *RunSpec) { s.Shards = 5 }},
		{"probability of a swap must lie in [0, 1]", func(s *RunSpec) {
			s.Noise = &NoiseSpec{Kind: "symmetric", Refresh: "once", Parameters: map[string]float64{"p": 1.5}}
		}},
		{"variance of Gaussian noise must be zero or positive", func(s *RunSpec) { s.Noise.Parameters["sigma2"] = -1 }},
		{"variance of Gaussian noise must be zero or positive", func(s *RunSpec) { s.Noise.Parameters["sigma2"] = math.NaN() }},
		{"there is no teacher; say --teacher FILE or train", func(s *RunSpec) { s.Teacher, s.Noise = nil, nil }},
		{"gaussian noise is added to a teacher's logits and there is no teacher", func(s *RunSpec) { s.Teacher, s.Loss = nil, &LossSpec{Ce: 1} }},
		{"cross-entropy alone never looks at the teacher", func(s *RunSpec) { s.Loss = &LossSpec{Ce: 1} }},
		{"kd needs a positive one", func(s *RunSpec) { s.Loss = &LossSpec{Kd: 1} }},
		{"every weight is zero", func(s *RunSpec) { s.Loss = &LossSpec{} }},
		{"learning rate must be positive", func(s *RunSpec) { s.Optimizer.Lr = math.NaN() }},
		{"precomputed logits are of the original images", func(s *RunSpec) { s.Teacher.Model = nil }},
		{"both must be the same", func(s *RunSpec) { s.Init.Kind = "teacher"; s.Model.Name = "resnet8" }},
		{"it is shard or global", func(s *RunSpec) { s.Batchnorm = "" }},
	} {
		s := sample()
		c.change(s)
		if err := Validate(s); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want a sentence with %q", err, c.want)
		}
	}
}
