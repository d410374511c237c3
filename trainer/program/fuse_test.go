package program

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/model"
)

// fusions are ways to choose among the passes: each alone, all but each, all.
func fusions() map[string][]pass {
	ways := map[string][]pass{"all": passes}
	for i, p := range passes {
		ways[p.name+" alone"] = passes[i : i+1]
		ways["all but "+p.name] = slices.Concat(passes[:i], passes[i+1:])
	}
	return ways
}

// machineWith is a machine whose programs go through those passes.
func machineWith(set kernel.Set, passes []pass) *machine {
	m := newMachine(set)
	m.passes = passes
	return m
}

func TestPassesChangeNoBit(t *testing.T) {
	passesChangeNoBit(t, openCPU(t, 1), "resnet14", fusions())
	passesChangeNoBit(t, kerneltest.PretendHalf(t, true), "resnet8", map[string][]pass{"all": passes})
}

func passesChangeNoBit(t *testing.T, set kernel.Set, network string, ways map[string][]pass) {
	t.Helper()
	shape := model.Shape{Channels: 2, Height: 6, Width: 5, Classes: 3}
	for shortcut, batchNorm := range map[string]string{"A": "shard", "B": "global"} {
		spec := model.Spec{Name: network, Shortcut: shortcut, Shape: shape}
		training := func(passes []pass) map[string][]float32 {
			p, err := trainingOn(machineWith(set, passes), smallConfig(spec, 2, 2, batchNorm))
			if err != nil {
				t.Fatal(err)
			}
			loadStart(t, p.Parameters(), p.Load)
			makeSamples(4, shape, 1).into(t, p)
			losses, correct, err := p.Step(nil)
			if err != nil {
				t.Fatal(err)
			}
			all := map[string][]float32{"losses": slices.Clone(losses), "correct": slices.Clone(correct)}
			for i, g := range p.grads {
				v := make([]float32, g.Len)
				p.machine.stream.Read(v, g.Memory)
				all[fmt.Sprint("bucket ", i)] = v
			}
			if err := p.Commit(0.05); err != nil {
				t.Fatal(err)
			}
			maps.Copy(all, keptState(t, p))
			return all
		}
		want := training(nil)
		for way, passes := range ways {
			sameBits(t, spec.Shortcut+" "+batchNorm+" training, "+way, training(passes), want)
		}
		const n = 3
		in := makeSamples(n, shape, 7)
		mean, std := normalised(shape.Channels)
		evaluation := func(passes []pass) map[string][]float32 {
			net, err := inferenceOn(machineWith(set, passes), spec, n, mean, std, pad, nil)
			if err != nil {
				t.Fatal(err)
			}
			norms, err := squaredNormOn(machineWith(set, passes), spec, n, mean, std, pad)
			if err != nil {
				t.Fatal(err)
			}
			loadStart(t, net.Parameters(), net.Load)
			loadStart(t, norms.Parameters(), norms.Load)
			all := map[string][]float32{}
			for _, images := range []int{n, 2} {
				logits, squares := make([]float32, images*shape.Classes), make([]float32, images*shape.Classes)
				pixels := in.part(0, images, shape).pixels
				if err := net.Logits(pixels, nil, images, logits); err != nil {
					t.Fatal(err)
				}
				if err := norms.SquaredNorms(pixels, images, squares); err != nil {
					t.Fatal(err)
				}
				all[fmt.Sprint("logits of ", images)], all[fmt.Sprint("squares of ", images)] = logits, squares
			}
			return all
		}
		want = evaluation(nil)
		for way, passes := range ways {
			sameBits(t, spec.Shortcut+" evaluation, "+way, evaluation(passes), want)
		}
	}
}

func TestABucketIsHandedOverAsSoonAsItIsComplete(t *testing.T) {
	p := shareOf(t, openCPU(t, 1), model.Spec{Name: "resnet56", Shortcut: "A", Shape: small.Shape}, "shard")
	last, handed := map[*Value]int{}, 0
	for i, s := range p.Steps() {
		for _, v := range s.outputs() {
			last[v.root()] = i
		}
		if s.Kind == Start && slices.Contains(p.grads, s.Reduction.In) {
			if handed++; last[s.Reduction.In] != i-1 {
				t.Errorf("step %d hands over %s, complete since step %d", i, s.Reduction.In.Name, last[s.Reduction.In])
			}
			delete(last, s.Reduction.In)
		}
	}
	for _, g := range p.grads {
		if i, late := last[g]; late {
			t.Errorf("step %d writes to %s, which was handed over", i, g.Name)
		}
	}
	if handed < 3 {
		t.Errorf("only %d buckets are handed over: the test sees nothing", handed)
	}
}
