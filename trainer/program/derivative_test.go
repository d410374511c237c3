package program

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel/ref"
	"github.com/dither-ml/dither/trainer/model"
)

// The whole loss, along a random direction of each parameter, against central differences in float64: every derivative of the graph is in it.
func TestGradientsAreThoseOfTheLoss(t *testing.T) {
	shape := model.Shape{Channels: 2, Height: 5, Width: 3, Classes: 4}
	for _, c := range []struct {
		spec      model.Spec
		batchNorm string
	}{{model.Spec{Name: "resnet8", Shortcut: "A", Shape: shape}, "shard"}, {model.Spec{Name: "resnet8", Shortcut: "B", Shape: shape}, "global"}, {model.Spec{Name: "mlp", Shape: shape}, "shard"}} {
		t.Run(c.spec.Name+c.spec.Shortcut, func(t *testing.T) {
			config := smallConfig(c.spec, 1, 3, c.batchNorm)
			p := newTraining(t, ref.New(), config)
			loadStart(t, p.Parameters(), p.Load)
			makeSamples(3, shape, 5).into(t, p)
			loss := func() float64 {
				t.Helper()
				if _, _, err := p.Step(alone(1)); err != nil {
					t.Fatal(err)
				}
				return p.LossFloat64()[0]
			}
			loss()
			gradients := map[string][]float64{}
			for _, q := range p.Parameters() {
				if q.Trainable {
					gradients[q.Name] = p.GradientFloat64(q.Name)
				}
			}
			r := rand.New(rand.NewPCG(7, 7))
			const h = 1e-6 // relative to a direction of length 1; small, because ReLU has a corner
			for _, q := range p.Parameters() {
				if !q.Trainable {
					continue
				}
				at := p.ReadFloat64(q.Name)
				direction, length, want := make([]float64, len(at)), 0.0, 0.0
				for i := range direction {
					direction[i] = r.NormFloat64()
					length += direction[i] * direction[i]
				}
				for i := range direction {
					direction[i] /= math.Sqrt(length)
					want += direction[i] * gradients[q.Name][i]
				}
				moved := func(by float64) float64 {
					v := make([]float64, len(at))
					for i := range v {
						v[i] = at[i] + by*direction[i]
					}
					writeWide(t, p.state, q.Name, v)
					return loss()
				}
				got := (moved(h) - moved(-h)) / (2 * h)
				writeWide(t, p.state, q.Name, at)
				if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
					t.Errorf("%s: the loss rises by %.9g along a direction, its gradient says %.9g", q.Name, got, want)
				}
			}
		})
	}
}

// A perceptron's squared norms, every element of every parameter by central differences of the logits.
func TestSquaredNormsAreSumsOverEveryParameter(t *testing.T) {
	shape := model.Shape{Channels: 1, Height: 2, Width: 2, Classes: 3}
	spec := model.Spec{Name: "mlp", Shape: shape}
	mean, std := normalised(1)
	const n = 2
	norms, err := NewSquaredNorm(ref.New(), spec, n, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	defer norms.Close()
	net, err := NewInference(ref.New(), spec, n, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	loadStart(t, net.Parameters(), norms.Load)
	loadStart(t, net.Parameters(), net.Load)
	pixels := makeSamples(n, shape, 3).pixels
	got := make([]float32, n*shape.Classes)
	if err := norms.SquaredNorms(pixels, n, got); err != nil {
		t.Fatal(err)
	}
	logits := func() []float64 {
		v := make([]float64, n*shape.Classes)
		if err := net.LogitsFloat64(pixels, n, v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	want := make([]float64, n*shape.Classes)
	const h = 1e-5
	for _, q := range net.Parameters() {
		v := widen(startValues(q))
		for i := range v {
			was := v[i]
			v[i] = was + h
			writeWide(t, net.state, q.Name, v)
			up := logits()
			v[i] = was - h
			writeWide(t, net.state, q.Name, v)
			down := logits()
			v[i] = was
			for j := range want {
				d := (up[j] - down[j]) / (2 * h)
				want[j] += d * d
			}
		}
		writeWide(t, net.state, q.Name, v)
	}
	if d := away(widen(got), want); !(d <= 1e-6) {
		t.Errorf("the squared norms are %.1e away from those by differences", d)
	}
}

// writeWide sets a parameter of the reference set in float64.
func writeWide(t *testing.T, s *state, name string, v []float64) {
	t.Helper()
	to, err := s.memory(s.theta, name, len(v))
	if err != nil {
		t.Fatal(err)
	}
	s.machine.stream.Write(to, v)
	if err := s.machine.stream.Sync(); err != nil {
		t.Fatal(err)
	}
}
