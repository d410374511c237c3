//go:build gpu

package program

import (
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cuda"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/model"
)

// A GPU rounds where the pretender does, and adds up in another order. Where no number falls to the other side of a rounding for that, all agree to a float32's precision; where one does, others follow it in the layers behind,
// each as far off as a rounding is: so what holds for the reference is all that holds for sure.

func halfGPU(t *testing.T) kernel.Set {
	t.Helper()
	set, err := cuda.New(cuda.Options{Half: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

func TestGPUInHalfPrecisionRoundsWhereItShould(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range halfSpecs() {
			t.Run(batchNorm+" "+spec.Name+spec.Shortcut, func(t *testing.T) {
				c := smallConfig(spec, 2, 12, batchNorm)
				got, want := floats(t, stepped(t, halfGPU(t), c)), floats(t, stepped(t, kerneltest.PretendHalf(t, true), c))
				var all, wantAll []float64
				for name, w := range want {
					switch d := away(got[name], w); {
					case strings.HasPrefix(name, "gradient"):
						all, wantAll = append(all, got[name]...), append(wantAll, w...)
					case !(d <= halfForward):
						t.Errorf("%s is %.1e away", name, d)
					}
				}
				d := away(all, wantAll)
				t.Logf("all gradients: %.1e", d)
				if !(d <= halfGradient) {
					t.Errorf("all gradients are %.1e away", d)
				}
			})
		}
	}
}

// floats are the losses, gradients and, after a commit, running statistics of a step, as a GPU holds them.
func floats(t *testing.T, p *Training) map[string][]float64 {
	t.Helper()
	read := func(from *Value, at, n int) []float64 {
		v := make([]float32, n)
		p.machine.stream.Read(v, from.Memory.Slice(at, at+n))
		if err := p.machine.stream.Sync(); err != nil {
			t.Fatal(err)
		}
		return widen(v)
	}
	all := map[string][]float64{"loss": read(p.loss, 0, p.loss.Len)}
	for _, q := range p.order {
		all["gradient of "+q.parameter.Name] = read(p.grads[q.bucket], q.inBucket, q.parameter.Len())
	}
	if err := p.Commit(0.1); err != nil {
		t.Fatal(err)
	}
	all["running statistics"] = read(p.running, 0, p.running.Len)
	return all
}

func TestGPUInHalfPrecisionEvaluatesAsItShould(t *testing.T) {
	for _, spec := range halfSpecs() {
		logits, norms := evaluatedFloats(t, halfGPU(t), spec)
		wantLogits, wantNorms := evaluatedFloats(t, kerneltest.PretendHalf(t, true), spec)
		l, q := away(logits, wantLogits), away(norms, wantNorms)
		t.Logf("%s%s: logits %.1e, squared norms %.1e", spec.Name, spec.Shortcut, l, q)
		if !(l <= halfForward) || !(q <= halfNorms) {
			t.Errorf("%s%s: logits are %.1e away, squared norms %.1e", spec.Name, spec.Shortcut, l, q)
		}
	}
}

// evaluatedFloats are the logits and squared norms of 4 images.
func evaluatedFloats(t *testing.T, set kernel.Set, spec model.Spec) (logits, norms []float64) {
	t.Helper()
	const n = 4
	mean, std := normalised(spec.Channels)
	in := makeSamples(n, spec.Shape, 2)
	net, err := NewInference(set, spec, n, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	squares, err := NewSquaredNorm(set, spec, n, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	loadStart(t, net.Parameters(), net.Load)
	loadStart(t, squares.Parameters(), squares.Load)
	f, q := make([]float32, n*spec.Classes), make([]float32, n*spec.Classes)
	if err := net.Logits(in.pixels, nil, n, f); err != nil {
		t.Fatal(err)
	}
	if err := squares.SquaredNorms(in.pixels, n, q); err != nil {
		t.Fatal(err)
	}
	return widen(f), widen(q)
}
