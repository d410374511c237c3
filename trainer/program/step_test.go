package program_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

func training(t testing.TB, set kernel.Set, c program.TrainingConfig) *program.Training {
	t.Helper()
	p, err := program.NewTraining(set, c)
	if err != nil {
		t.Fatal(err)
	}
	randomStart(t, p)
	return p
}

func step(t testing.TB, p *program.Training) []float32 {
	t.Helper()
	losses, _, err := p.Step(nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(losses)
}

func total(v []float32) (sum float64) {
	for _, x := range v {
		sum += float64(x)
	}
	return sum
}

func TestGlobalBatchNormDoesNotDependOnShards(t *testing.T) {
	set := generic(t)
	b := randomBatch(rand.New(rand.NewPCG(9, 1)), 8)
	var states [2]map[string][]float32
	for i, shards := range []int{1, 4} {
		c := tinyConfig(tiny("resnet8", "B"), "global", model.Loss{CE: 1})
		c.Groups, c.Shards, c.Images = shards, shards, 8/shards
		p := training(t, set, c)
		if err := b.into(p); err != nil {
			t.Fatal(err)
		}
		step(t, p)
		if err := p.Commit(0.1); err != nil {
			t.Fatal(err)
		}
		states[i] = stateOf(t, p)
	}
	for name, want := range states[0] {
		for i := range want {
			if d := math.Abs(float64(states[1][name][i] - want[i])); !(d <= 1e-4*(1+math.Abs(float64(want[i])))) {
				// The running variance is unbiased over the batch in both, so it is no exception.
				t.Fatalf("element %d of %s is %v in 4 shards, %v in 1", i, name, states[1][name][i], want[i])
			}
		}
	}
}

func TestStepChangesNoState(t *testing.T) {
	set := generic(t)
	for _, norm := range []string{"shard", "global"} {
		p := training(t, set, tinyConfig(tiny("resnet8", "B"), norm, model.Loss{CE: 1}))
		b := randomBatch(rand.New(rand.NewPCG(9, 2)), 8)
		if err := b.into(p); err != nil {
			t.Fatal(err)
		}
		step(t, p)
		if err := p.Commit(0.1); err != nil { // momentum is no longer zero
			t.Fatal(err)
		}
		before := stateOf(t, p)
		first := step(t, p)
		sameBits(t, norm, stateOf(t, p), before)
		if again := step(t, p); !slices.Equal(again, first) {
			t.Errorf("%s: the same step again has losses %v, then %v", norm, first, again)
		}
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	p := training(t, set, tinyConfig(tiny("resnet8", "A"), "shard", model.Loss{Quadratic: 1}))
	b := randomBatch(rand.New(rand.NewPCG(9, 3)), 8)
	if err := b.into(p); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(5, func() {
		if _, _, err := p.Step(nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(0.01); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("a step and its commit make %v allocations", n)
	}
}

func TestGradientsAreFiniteDifferences(t *testing.T) {
	for name, l := range map[string]model.Loss{"quadratic": {Quadratic: 1}, "kd": {KD: 1, Temperature: 4}, "ce": {CE: 1}, "mixed": {Quadratic: 0.3, KD: 0.5, CE: 0.2, Temperature: 2}} {
		for _, net := range []model.Spec{tiny("mlp", ""), tiny("resnet8", "B")} {
			if net.Name != "mlp" && name != "mixed" {
				continue // the reference is slow, and the losses end where the network begins
			}
			t.Run(name+"/"+net.Name, func(t *testing.T) {
				c := tinyConfig(net, "shard", l)
				c.Groups, c.Shards, c.Images, c.Batch = 1, 1, 4, 4
				p := training(t, reference(), c)
				r := rand.New(rand.NewPCG(9, 4))
				b := randomBatch(r, 4)
				if err := b.into(p); err != nil {
					t.Fatal(err)
				}
				step(t, p)
				checked := 0
				for i, q := range p.Parameters() {
					if !q.Trainable || (net.Name != "mlp" && i%9 != 0) {
						continue
					}
					checked++
					grad := p.GradientFloat64(q.Name)
					theta := make([]float32, q.Len())
					if err := p.Read(q.Name, theta); err != nil {
						t.Fatal(err)
					}
					// Along its own gradient, the loss rises by the gradient's squared norm; a step of float32 parameters is known exactly.
					norm := 0.0
					for _, g := range grad {
						norm += g * g
					}
					h := 1e-5 / math.Sqrt(norm)
					var loss, moved [2]float64
					for side, sign := range []float64{1, -1} {
						v := slices.Clone(theta)
						for j := range v {
							v[j] += float32(sign * h * grad[j])
							moved[side] += float64(v[j]-theta[j]) * grad[j]
						}
						if err := p.Load(q.Name, v); err != nil {
							t.Fatal(err)
						}
						step(t, p)
						loss[side] = p.LossFloat64()[0]
					}
					if err := p.Load(q.Name, theta); err != nil {
						t.Fatal(err)
					}
					got, want := loss[0]-loss[1], moved[0]-moved[1]
					if math.Abs(got-want) > 1e-3*math.Abs(want)+1e-12 {
						t.Errorf("%s: the loss moves by %g and the gradient says %g", q.Name, got, want)
					}
				}
				if checked < 3 {
					t.Fatalf("%d parameters were checked", checked)
				}
			})
		}
	}
}

func TestLossFalls(t *testing.T) {
	p := training(t, generic(t), tinyConfig(tiny("mlp", ""), "shard", model.Loss{CE: 1}))
	if err := randomBatch(rand.New(rand.NewPCG(9, 5)), 8).into(p); err != nil {
		t.Fatal(err)
	}
	first := total(step(t, p))
	for range 20 {
		step(t, p)
		if err := p.Commit(0.01); err != nil {
			t.Fatal(err)
		}
	}
	if last := total(step(t, p)); !(last < first/2) {
		t.Errorf("the loss goes from %v to %v in 20 steps", first, last)
	}
}

func TestImagesAtOnceAndOneByOneHaveTheSameLogits(t *testing.T) {
	const most = 5
	set := generic(t)
	for _, net := range []model.Spec{tiny("resnet8", "A"), tiny("resnet8", "B"), tiny("mlp", "")} {
		p, err := program.NewInference(set, net, most, mean, std, 2)
		if err != nil {
			t.Fatal(err)
		}
		randomStart(t, p)
		b := randomBatch(rand.New(rand.NewPCG(9, 6)), most)
		var want []float32
		for i := range most {
			one := make([]float32, tinyKinds)
			v := b.images(i, i+1)
			if err := p.Logits(v.pixels, v.geometry, 1, one); err != nil {
				t.Fatal(err)
			}
			want = append(want, one...)
		}
		for n := 1; n <= most; n++ {
			got := make([]float32, n*tinyKinds)
			v := b.images(0, n)
			if err := p.Logits(v.pixels, v.geometry, n, got); err != nil {
				t.Fatal(err)
			}
			sameBits(t, net.Name, map[string][]float32{"logits": got}, map[string][]float32{"logits": want[:n*tinyKinds]})
		}
		norms, err := program.NewSquaredNorm(set, net, 3, mean, std, 2)
		if err != nil {
			t.Fatal(err)
		}
		randomStart(t, norms)
		all := make([]float32, 3*tinyKinds)
		if err := norms.SquaredNorms(b.pixels[:3*tinyPixels], 3, all); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			one := make([]float32, tinyKinds)
			if err := norms.SquaredNorms(b.images(i, i+1).pixels, 1, one); err != nil {
				t.Fatal(err)
			}
			sameBits(t, net.Name, map[string][]float32{"squared norms": one}, map[string][]float32{"squared norms": all[i*tinyKinds : (i+1)*tinyKinds]})
		}
	}
}

func TestBadInputsAreRefused(t *testing.T) {
	set := generic(t)
	c := tinyConfig(tiny("mlp", ""), "shard", model.Loss{Quadratic: 1})
	p := training(t, set, c)
	good := randomBatch(rand.New(rand.NewPCG(9, 7)), 8)
	if err := good.into(p); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*batch){
		"pixels":         func(b *batch) { b.pixels = b.pixels[1:] },
		"geometry":       func(b *batch) { b.geometry = b.geometry[1:] },
		"labels":         func(b *batch) { b.labels = b.labels[1:] },
		"soft labels":    func(b *batch) { b.soft = nil },
		"label too high": func(b *batch) { b.labels = slices.Clone(b.labels); b.labels[3] = tinyKinds },
		"label below 0":  func(b *batch) { b.labels = slices.Clone(b.labels); b.labels[3] = -1 },
	} {
		b := good
		spoil(&b)
		if b.into(p) == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if p.Load("linear.weight", make([]float32, 3)) == nil || p.Load("nothing", nil) == nil {
		t.Error("parameters of another shape or name were loaded")
	}
	for what, spoil := range map[string]func(*program.TrainingConfig){
		"groups": func(c *program.TrainingConfig) { c.Groups = 5 },
		"batch":  func(c *program.TrainingConfig) { c.Batch = 9 },
		"norm":   func(c *program.TrainingConfig) { c.BatchNorm = "none" },
		"mean":   func(c *program.TrainingConfig) { c.Mean = nil },
		"loss":   func(c *program.TrainingConfig) { c.Loss = model.Loss{} },
		"net":    func(c *program.TrainingConfig) { c.Model.Name = "vgg" },
	} {
		bad := c
		spoil(&bad)
		if _, err := program.NewTraining(set, bad); err == nil {
			t.Errorf("%s: built", what)
		}
	}
	share := c
	share.Groups = 2
	part := training(t, set, share)
	if err := good.images(0, 4).into(part); err != nil {
		t.Fatal(err)
	}
	if _, _, err := part.Step(nil); err == nil {
		t.Error("a share of a batch was stepped without a collective")
	}
	inference, err := program.NewInference(set, c.Model, 2, mean, std, 2)
	if err != nil {
		t.Fatal(err)
	}
	if inference.Logits(good.pixels[:3*tinyPixels], nil, 3, make([]float32, 12)) == nil || inference.Logits(nil, nil, 0, nil) == nil {
		t.Error("3 images, or none, went through a program for 2")
	}
}
