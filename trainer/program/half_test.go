package program

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/kernel/ref"
	"github.com/dither-ml/dither/trainer/model"
)

// What bfloat16 may be off by, as the norm of the difference over the norm. A rounding is off by 2^-10 to 2^-9 (1e-3 to 2e-3), and so are logits, losses and statistics. Gradients are off by far
// more, for a rounding that takes a number across 0 opens or shuts a ReLU: 3 numbers in 1000 are so near to it, and the square root of that, 5 percent, is what a layer adds to its gradient. More
// images make it less.
const (
	halfForward  = 5e-3
	halfGradient = 0.2 // of all parameters together
	halfWorst    = 0.4 // of any one
	halfNorms    = 0.03
	halfLeast    = 1e-5 // what comes nearer was not rounded
)

// halfSpecs are networks whose channels fill no block, with both shortcuts: B's is a 1x1 convolution of stride 2.
func halfSpecs() []model.Spec {
	shape := model.Shape{Channels: 3, Height: 8, Width: 7, Classes: 5}
	return []model.Spec{{Name: "resnet8", Shortcut: "A", Shape: shape}, {Name: "resnet8", Shortcut: "B", Shape: shape}, {Name: "mlp", Shape: shape}}
}

// stepped is a program that has taken a step on the samples of a test.
func stepped(t *testing.T, set kernel.Set, c TrainingConfig) *Training {
	t.Helper()
	p := newTraining(t, set, c)
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(c.Batch, c.Model.Shape, 3).into(t, p)
	if _, _, err := p.Step(nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// results are the losses, the gradient of each parameter, and after a commit all that is kept.
func results(t *testing.T, p *Training) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{"loss": p.LossFloat64()}
	for _, q := range p.Parameters() {
		if q.Trainable {
			all["gradient of "+q.Name] = p.GradientFloat64(q.Name)
		}
	}
	if err := p.Commit(0.1); err != nil {
		t.Fatal(err)
	}
	for _, q := range p.Parameters() {
		all[q.Name] = p.ReadFloat64(q.Name)
	}
	return all
}

// Packing, blocks, two arenas and fusion change nothing: where nothing is rounded, every number is the reference's.
func TestHalfPrecisionIsTheReferenceButForRounding(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range halfSpecs() {
			c := smallConfig(spec, 2, 3, batchNorm)
			want := results(t, stepped(t, ref.New(), c))
			for name, got := range results(t, stepped(t, kerneltest.PretendHalf(t, false), c)) {
				if d := away(got, want[name]); !(d <= 1e-12) {
					t.Errorf("%s, %s%s: %s is %.1e away", batchNorm, spec.Name, spec.Shortcut, name, d)
				}
			}
			logits, norms := evaluated(t, kerneltest.PretendHalf(t, false), spec)
			wantLogits, wantNorms := evaluated(t, ref.New(), spec)
			if d := max(away(logits, wantLogits), away(norms, wantNorms)); !(d <= 1e-12) {
				t.Errorf("%s%s: logits or squared norms are %.1e away", spec.Name, spec.Shortcut, d)
			}
		}
	}
}

func TestAStepInHalfPrecisionIsNearTheReferences(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range halfSpecs() {
			t.Run(batchNorm+" "+spec.Name+spec.Shortcut, func(t *testing.T) {
				c := smallConfig(spec, 2, 12, batchNorm)
				got, want := results(t, stepped(t, kerneltest.PretendHalf(t, true), c)), results(t, stepped(t, ref.New(), c))
				var all, wantAll []float64
				for name, w := range want {
					switch {
					case strings.HasPrefix(name, "gradient"):
						near(t, name, got[name], w, halfWorst)
						all, wantAll = append(all, got[name]...), append(wantAll, w...)
					case name == "loss" || strings.Contains(name, "running"):
						near(t, name, got[name], w, halfForward)
					}
				}
				near(t, "all gradients", all, wantAll, halfGradient)
			})
		}
	}
}

// near fails where got is off by more than a limit, or by nothing.
func near(t *testing.T, what string, got, want []float64, limit float64) {
	t.Helper()
	d := away(got, want)
	t.Logf("%s: %.1e", what, d)
	if !(d <= limit) || d < halfLeast {
		t.Errorf("%s is %.1e away, not %.0e to %.0e", what, d, halfLeast, limit)
	}
}

// evaluated are the logits and squared norms of 4 images, one and then three.
func evaluated(t *testing.T, set kernel.Set, spec model.Spec) (logits, norms []float64) {
	t.Helper()
	const most = 3
	mean, std := normalised(spec.Channels)
	in := makeSamples(most+1, spec.Shape, 2)
	net, err := NewInference(set, spec, most, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	squares, err := NewSquaredNorm(set, spec, most, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	loadStart(t, net.Parameters(), net.Load)
	loadStart(t, squares.Parameters(), squares.Load)
	for _, part := range []samples{in.part(0, 1, spec.Shape), in.part(1, most+1, spec.Shape)} {
		n := len(part.labels)
		f, q := make([]float64, n*spec.Classes), make([]float64, n*spec.Classes)
		if err := net.LogitsFloat64(part.pixels, n, f); err != nil {
			t.Fatal(err)
		}
		if err := squares.SquaredNormsFloat64(part.pixels, n, q); err != nil {
			t.Fatal(err)
		}
		logits, norms = append(logits, f...), append(norms, q...)
	}
	return logits, norms
}

func TestEvaluationInHalfPrecisionIsNearTheReferences(t *testing.T) {
	for _, spec := range halfSpecs() {
		t.Run(spec.Name+spec.Shortcut, func(t *testing.T) {
			logits, norms := evaluated(t, kerneltest.PretendHalf(t, true), spec)
			wantLogits, wantNorms := evaluated(t, ref.New(), spec)
			near(t, "logits", logits, wantLogits, halfForward)
			near(t, "squared norms", norms, wantNorms, halfNorms)
		})
	}
}

// Parameters stay float32: an update far below a bfloat16's last bit is not lost, and the next step sees the rounded sum of such updates.
func TestHalfPrecisionKeepsWholeParameters(t *testing.T) {
	spec := halfSpecs()[1]
	p := newTraining(t, kerneltest.PretendHalf(t, true), smallConfig(spec, 1, 4, "shard"))
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(4, spec.Shape, 3).into(t, p)
	const name, rate = "layer2.0.conv1.weight", 1e-4
	before := p.ReadFloat64(name)
	if _, _, err := p.Step(nil); err != nil {
		t.Fatal(err)
	}
	gradient := p.GradientFloat64(name)
	if err := p.Commit(rate); err != nil {
		t.Fatal(err)
	}
	want := make([]float64, len(before))
	small := 0
	for i, v := range before {
		want[i] = v - rate*(gradient[i]+1e-3*v)
		if d := want[i] - v; d != 0 && d*d < v*v*0x1p-20 { // a quarter of the last bit
			small++
		}
	}
	if d := away(p.ReadFloat64(name), want); !(d <= 1e-7) {
		t.Errorf("parameters after a commit are %.1e away", d)
	}
	if small < len(before)/2 {
		t.Errorf("only %d of %d updates are small: the test sees nothing", small, len(before))
	}
}

func TestHalfPrecisionLearns(t *testing.T) {
	shape := model.Shape{Channels: 3, Height: 5, Width: 4, Classes: 3}
	spec := model.Spec{Name: "resnet8", Shortcut: "B", Shape: shape}
	c := smallConfig(spec, 2, 6, "shard")
	c.Loss, c.WeightDecay = model.Loss{CE: 1}, 0
	p := newTraining(t, kerneltest.PretendHalf(t, true), c)
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(12, shape, 9).into(t, p)
	var first, last float32
	for k := range 12 {
		losses, _, err := p.Step(nil)
		if err != nil {
			t.Fatal(err)
		}
		if last = losses[0] + losses[1]; k == 0 {
			first = last
		}
		if err := p.Commit(0.05); err != nil {
			t.Fatal(err)
		}
	}
	if !(last < first/4) {
		t.Errorf("the loss went from %v to %v", first, last)
	}
}

func TestBitsOfHalfPrecisionDoNotDependOnWhoOwnsTheShards(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range halfSpecs() {
			t.Run(batchNorm+" "+spec.Name+spec.Shortcut, func(t *testing.T) {
				const shards = 3
				c := smallConfig(spec, shards, 2, batchNorm)
				set := func() kernel.Set { return kerneltest.PretendHalf(t, true) }
				one, seen := train(t, set, c, []int{shards}, 2)
				for _, owned := range [][]int{{2, 1}, {1, 1, 1}} {
					other, theirs := train(t, set, c, owned, 2)
					what := fmt.Sprintf("shards owned %v", owned)
					sameBits(t, what, other, one)
					sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
				}
			})
		}
	}
}
