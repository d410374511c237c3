package program

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel/ref"
	"github.com/dither-ml/dither/trainer/model"
)

// A perceptron and both kinds of ResNet learn made-up labels by heart.
func TestNetworksLearn(t *testing.T) {
	shape := model.Shape{Channels: 1, Height: 6, Width: 6, Classes: 4}
	for _, spec := range []model.Spec{{Name: "mlp", Shape: shape}, {Name: "resnet8", Shortcut: "A", Shape: shape}, {Name: "resnet8", Shortcut: "B", Shape: shape}} {
		c := smallConfig(spec, 2, 12, "shard")
		c.Loss, c.WeightDecay = model.Loss{CE: 1}, 0
		p := newTraining(t, openCPU(t, 2), c)
		loadStart(t, p.Parameters(), p.Load)
		makeSamples(24, shape, 9).into(t, p)
		var first, last, right float32
		for k := range 40 {
			losses, correct, err := p.Step(nil)
			if err != nil {
				t.Fatal(err)
			}
			if last, right = losses[0]+losses[1], correct[0]+correct[1]; k == 0 {
				first = last
			}
			if err := p.Commit(0.03); err != nil {
				t.Fatal(err)
			}
		}
		if !(last < first/4) || right < 22 {
			t.Errorf("%s%s: the loss went from %v to %v with %v of 24 right", spec.Name, spec.Shortcut, first, last, right)
		}
	}
}

func TestAnImagesResultsDoNotDependOnTheOthers(t *testing.T) {
	mean, std := normalised(small.Channels)
	const most = 5
	net, err := NewInference(openCPU(t, 1), small, most, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	norms, err := NewSquaredNorm(openCPU(t, 1), small, most, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	defer norms.Close()
	loadStart(t, net.Parameters(), net.Load)
	loadStart(t, norms.Parameters(), norms.Load)
	in := makeSamples(most, small.Shape, 2)
	run := func(from, to int) map[string][]float32 {
		v := in.part(from, to, small.Shape)
		n, out := to-from, map[string][]float32{}
		for _, name := range []string{"logits", "views", "norms"} {
			out[name] = make([]float32, n*small.Classes)
		}
		if err := net.Logits(v.pixels, nil, n, out["logits"]); err != nil {
			t.Fatal(err)
		}
		if err := net.Logits(v.pixels, v.geometry, n, out["views"]); err != nil {
			t.Fatal(err)
		}
		if err := norms.SquaredNorms(v.pixels, n, out["norms"]); err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := run(0, most)
	got := map[string][]float32{}
	for _, cut := range [][2]int{{0, 2}, {2, 5}} {
		for name, v := range run(cut[0], cut[1]) {
			got[name] = append(got[name], v...)
		}
	}
	sameBits(t, "two images, then three", got, all)
	if away(widen(all["views"]), widen(all["logits"])) < 1e-3 {
		t.Error("a view gives the logits of the image itself: the geometry is not used")
	}
	many, views := make([]float32, 2*most*small.Classes), append(in.geometry, in.geometry...)
	for i, n := range []int{2 * most, most + 2} {
		if err := net.Logits(append(in.pixels, in.pixels...)[:n*len(in.pixels)/most], views[:3*n], n, many[:n*small.Classes]); err != nil {
			t.Fatal(err)
		}
		sameBits(t, []string{"twice as many as may be in flight", "2 more than may be in flight"}[i],
			map[string][]float32{"first": many[:most*small.Classes], "last": many[most*small.Classes : n*small.Classes]},
			map[string][]float32{"first": all["views"], "last": all["views"][:(n-most)*small.Classes]})
		clear(many)
	}
	for what, bad := range map[string]func() error{
		"fewer pixels": func() error { return net.Logits(in.pixels[1:], nil, most, many[:most*small.Classes]) },
		"no images":    func() error { return net.Logits(nil, nil, 0, nil) },
		"fewer views":  func() error { return net.Logits(in.pixels, views[:3], most, many[:most*small.Classes]) },
		"fewer logits": func() error { return net.Logits(in.pixels, nil, most, many[:most]) },
	} {
		if bad() == nil {
			t.Errorf("%s were taken", what)
		}
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	good := smallConfig(small, 2, 3, "shard")
	for name, spoil := range map[string]func(*TrainingConfig){
		"a batch that the shards do not make": func(c *TrainingConfig) { c.Batch++ },
		"more groups than shards":             func(c *TrainingConfig) { c.Groups = 3 },
		"no group":                            func(c *TrainingConfig) { c.Groups = 0 },
		"statistics over something else":      func(c *TrainingConfig) { c.BatchNorm = "batch" },
		"a mean of too few channels":          func(c *TrainingConfig) { c.Mean = c.Mean[:1] },
		"an unknown network":                  func(c *TrainingConfig) { c.Model.Name = "resnet9" },
		"no loss":                             func(c *TrainingConfig) { c.Loss = model.Loss{} },
		"no class":                            func(c *TrainingConfig) { c.Model.Classes = 0 },
	} {
		c := good
		spoil(&c)
		if _, err := NewTraining(ref.New(), c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	p := newTraining(t, ref.New(), good)
	if err := p.Load("conv1.weight", make([]float32, 3)); err == nil {
		t.Error("a parameter of another size was loaded")
	}
	if err := p.Load("conv9.weight", nil); err == nil {
		t.Error("a parameter that is not there was loaded")
	}
	if err := p.LoadMomentum("bn1.running_mean", make([]float32, 16)); err == nil {
		t.Error("a running statistic was given momentum")
	}
	if err := p.Commit(0.1); err == nil {
		t.Error("a commit came before any step")
	}
	in := makeSamples(6, small.Shape, 1)
	if err := p.Input(in.pixels, in.geometry, in.labels, nil); err == nil {
		t.Error("a loss that takes soft labels got none")
	}
	in.labels[4] = int32(small.Classes)
	if err := p.Input(in.pixels, in.geometry, in.labels, in.soft); err == nil {
		t.Error("a label that is no class was taken")
	}
}
