package main

import (
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/model"
)

// digitsEvaluator is a network with random parameters, for the digits.
func digitsEvaluator(t *testing.T, network, kernels string, threads int) *evaluator {
	t.Helper()
	set, err := dataloader.Open("digits", "", dataloader.Options{TrainLimit: 40, TestLimit: 12})
	if err != nil {
		t.Fatal(err)
	}
	e := &evaluator{app: newApp(io.Discard, io.Discard), title: "test", set: set, mean: dataloader.Mean[:], std: dataloader.Std[:], checkpoint: &checkpoint.Checkpoint{Meta: checkpoint.Meta{Model: network}}}
	if network != "mlp" {
		e.checkpoint.Meta.Shortcut = "A"
	}
	ps, err := model.Parameters(e.network())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range ps {
		v := make([]float32, p.Len())
		for i := range v {
			switch p.Kind {
			case model.Weight:
				v[i] = float32(math.Sqrt(1/float64(p.FanIn)) * r.NormFloat64())
			case model.Gamma, model.Variance:
				v[i] = float32(0.5 + r.Float64())
			default:
				v[i] = float32(0.1 * r.NormFloat64())
			}
		}
		e.checkpoint.Parameters = append(e.checkpoint.Parameters, checkpoint.Tensor{Name: p.Name, Shape: p.Shape, Data: v})
	}
	if e.kernels, err = openKernels(kernels, ditherv1.FP32, threads); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.kernels.Close)
	return e
}

func perturbed(t *testing.T, e *evaluator, f *perturbFlags) *perturbResult {
	t.Helper()
	before := e.checkpoint.Hash()
	r, err := e.perturb(t.Context(), f, "test", e.set.Test, ascending(0, e.set.Test.N()))
	if err != nil {
		t.Fatal(err)
	}
	if e.checkpoint.Hash() != before {
		t.Fatal("the checkpoint was changed")
	}
	return r
}

// Small perturbations change the logits as the gradient norm says, and with the square of their size.
func TestSmallPerturbationsAreOfFirstOrder(t *testing.T) {
	for network, draws := range map[string]int{"mlp": 60, "resnet8": 6} {
		t.Run(network, func(t *testing.T) {
			e := digitsEvaluator(t, network, "auto", 2)
			r := perturbed(t, e, &perturbFlags{sds: []float64{1e-5, 1e-4, 2e-4}, draws: draws, images: 20, seed: 3})
			for _, s := range r.Scales {
				ratio := *s.ChangeMean / s.FirstOrder
				t.Logf("sd %v: %v of first order, %v to %v", s.SD, ratio, *s.ChangeLow/s.FirstOrder, *s.ChangeHigh/s.FirstOrder)
				if *s.ChangeLow > s.FirstOrder || *s.ChangeHigh < s.FirstOrder {
					t.Errorf("sd %v: a change of %v to %v, to first order %v", s.SD, *s.ChangeLow, *s.ChangeHigh, s.FirstOrder)
				}
				if network == "mlp" && math.Abs(ratio-1) > 0.05 {
					t.Errorf("sd %v: %v of first order", s.SD, ratio)
				}
				if s.FirstOrder != s.SD*s.SD*r.GradientNorm || s.AccuracyMean < r.Accuracy-0.1 || s.NotFinite != 0 {
					t.Errorf("%+v of gradient norm %v and accuracy %v", s, r.GradientNorm, r.Accuracy)
				}
			}
			// The same directions: of that, no draw's luck is left.
			if twice := *r.Scales[2].ChangeMean / *r.Scales[1].ChangeMean; math.Abs(twice-4) > 0.02 {
				t.Errorf("twice the size changes the logits %v times as much, want 4", twice)
			}
		})
	}
}

// Kernel sets and threads change no bit of a result.
func TestPerturbationsDependNotOnTheMachine(t *testing.T) {
	f := perturbFlags{sds: []float64{1e-3, 0.1}, draws: 2, images: 4, seed: 3}
	want := perturbed(t, digitsEvaluator(t, "resnet8", "generic", 1), &f).stabilityEntry
	if got := perturbed(t, digitsEvaluator(t, "resnet8", "auto", 3), &f).stabilityEntry; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v is not %+v", got, want)
	}
	f.seed = 4
	if got := perturbed(t, digitsEvaluator(t, "resnet8", "auto", 3), &f).stabilityEntry; reflect.DeepEqual(got.Scales, want.Scales) {
		t.Error("another seed has the same perturbations")
	}
}

// Where logits become no numbers, it is said, and counted as wrong.
func TestPerturbationsThatBreakANetwork(t *testing.T) {
	r := perturbed(t, digitsEvaluator(t, "mlp", "auto", 1), &perturbFlags{sds: []float64{1e-3, 1e30}, draws: 3, images: 5, seed: 1})
	broken := r.Scales[1]
	if broken.NotFinite != 3 || broken.ChangeMean != nil || r.Scales[0].NotFinite != 0 || r.Scales[0].ChangeMean == nil {
		t.Errorf("the scales are %+v", r.Scales)
	}
	var text strings.Builder
	if r.print(&text); !strings.Contains(text.String(), "not finite in 3") {
		t.Errorf("it prints %s", text.String())
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
	sick := digitsEvaluator(t, "mlp", "auto", 1)
	for _, p := range sick.checkpoint.Parameters {
		if p.Name == "linear.bias" {
			p.Data[0] = float32(math.Inf(1))
		}
	}
	if _, err := sick.perturb(t.Context(), &perturbFlags{sds: []float64{1}, draws: 2, images: 5}, "test", sick.set.Test, ascending(0, 3)); err == nil || !strings.Contains(err.Error(), "are not finite") {
		t.Errorf("a network that is no number itself: %v", err)
	}
}

// BatchNorm's running statistics are not perturbed, and every other parameter is, with the number of its place by name.
func TestOnlyTrainableParametersArePerturbed(t *testing.T) {
	e := digitsEvaluator(t, "resnet8", "generic", 1)
	p := &perturbation{evaluator: e, flags: &perturbFlags{seed: 9}, parameters: trainableByName(e.checkpoint)}
	old := map[string][]float32{}
	for _, q := range e.checkpoint.Parameters {
		old[q.Name] = q.Data
	}
	last, n := "", 0
	if err := p.load(0.5, p.directions(0), func(name string, v []float32) error {
		if name <= last || !checkpoint.Trainable(name) || reflect.DeepEqual(v, old[name]) {
			t.Errorf("after %s comes %s", last, name)
		}
		last = name
		n++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(p.parameters) || n >= len(e.checkpoint.Parameters) {
		t.Errorf("%d of %d parameters", n, len(e.checkpoint.Parameters))
	}
}

// Results that come to one file at once are all in it, beside what was there.
func TestStabilityFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stability.json")
	if err := os.WriteFile(path, []byte(`[{"name": "other", "mine": [1, 2]}, {"name":"b"}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c<d>", "e"} {
		group.Go(func() {
			if replaced, err := putStability(path, stabilityEntry{Name: name, Images: 7}); err != nil || replaced != (name == "b") {
				t.Errorf("%s replaced one: %v, error %v", name, replaced, err)
			}
		})
	}
	group.Wait()
	var got []struct {
		Name   string
		Images int
		Mine   []int
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got) != 5 || got[0].Name != "other" || len(got[0].Mine) != 2 || got[1].Name != "b" || got[1].Images != 7 {
		t.Errorf("the file has %+v, error %v", got, err)
	}
	for _, bad := range []string{"", "{}", "null", "[1]", `[{"names":1}]`, "[{}", `[{"name":3}]`} {
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := putStability(path, stabilityEntry{Name: "a"}); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%q is taken: %v", bad, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != bad {
			t.Errorf("%q was written over", bad)
		}
	}
}
