package model

import (
	"math"
	"sync"
	"testing"
)

func cifar(name, shortcut string) Spec {
	return Spec{Name: name, Shortcut: shortcut, Shape: Shape{3, 32, 32, 10}}
}

// The counts are those of He et al. 2016, table 6 (0.27, 0.46, 0.66, 0.85 million), to the parameter for shortcut A.
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want int
	}{{cifar("resnet20", "A"), 269722}, {cifar("resnet32", "A"), 464154}, {cifar("resnet56", "A"), 853018}, {cifar("resnet20", "B"), 272474}, {cifar("mlp", ""), 3072*128 + 128 + 1290}} {
		ps, err := Parameters(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, p := range ps {
			if p.Trainable {
				got += p.Len()
			}
		}
		if got != c.want {
			t.Errorf("%s with shortcut %s has %d trainable parameters, want %d", c.spec.Name, c.spec.Shortcut, got, c.want)
		}
	}
}

func TestEveryTrainableParameterHasAGradientOfItsShape(t *testing.T) {
	for _, s := range []Spec{cifar("resnet8", "A"), cifar("resnet8", "B"), cifar("mlp", "")} {
		for _, l := range []Loss{{Quadratic: 1}, {KD: 0.9, CE: 0.1, Temperature: 4}} {
			g, err := Training(s, 4, l)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range g.Parameters {
				if d := g.Gradients[p.Name]; p.Trainable && (d == nil || !d.Shape().Eq(g.Nodes[p.Name].Shape())) {
					t.Errorf("%s: the gradient of %s is %v", s.Name, p.Name, d)
				}
			}
		}
	}
}

func TestUnknownNetworks(t *testing.T) {
	for _, name := range []string{"vgg", "resnet21", "resnet", "resnet2"} {
		if _, err := Parameters(cifar(name, "A")); err == nil {
			t.Errorf("%s was built", name)
		}
	}
	if _, err := Parameters(cifar("resnet20", "C")); err == nil {
		t.Error("shortcut C was built")
	}
}

func TestLossesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, l := range []Loss{{}, {Quadratic: -1}, {CE: math.NaN()}, {KD: math.Inf(1), Temperature: 4}, {KD: 1}, {KD: 1, Temperature: -2}} {
		if _, err := Training(cifar("mlp", ""), 2, l); err == nil {
			t.Errorf("the loss %+v was taken", l)
		}
	}
}

// A trainer, a teacher and an evaluation in one process build their graphs at one time; run with -race.
func TestGraphsAreBuiltSideBySide(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Training(cifar("resnet8", "B"), 2, Loss{Quadratic: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Every node is computed from arguments of the shapes that its op says, so that the lowering can trust the op alone.
func TestALayerAppearsOnce(t *testing.T) {
	g, err := Training(cifar("resnet14", "B"), 2, Loss{Quadratic: 1, KD: 1, CE: 1, Temperature: 4})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range g.Expr.AllNodes() {
		op, ours := n.Op().(*Op)
		if !ours || op.Code == none {
			continue
		}
		if key := op.String(); seen[key] && op.Layer != "" {
			t.Errorf("two nodes are %s", key)
		} else {
			seen[key] = true
		}
	}
	if _, err := g.Logits.Op().Do(); err == nil {
		t.Error("gorgonia could execute an op")
	}
}
