package model

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// ErrUnknown is what the error wraps when no network has the name.
var ErrUnknown = errors.New("unknown network")

// Shape is what a network sees and says.
type Shape struct{ Channels, Height, Width, Classes int }

// Spec names a network for a shape.
type Spec struct {
	Name     string
	Shortcut string // of a ResNet: "A" or "B"
	Shape
}

// Loss is the weights of a sum of losses, and kd's temperature.
type Loss struct{ Quadratic, KD, CE, Temperature float64 }

// Check says what makes no sense of a loss.
func (l Loss) Check() error {
	for _, w := range []struct {
		name  string
		value float64
	}{{"quadratic", l.Quadratic}, {"kd", l.KD}, {"ce", l.CE}} {
		if !(w.value >= 0) || math.IsInf(w.value, 0) {
			return fmt.Errorf("the %s loss has the weight %v: give a number that is not negative", w.name, w.value)
		}
	}
	if l.Quadratic == 0 && l.KD == 0 && l.CE == 0 {
		return errors.New("a loss whose weights are all zero teaches nothing: give one of quadratic, kd and ce a weight above 0")
	}
	if l.KD > 0 && (!(l.Temperature > 0) || math.IsInf(l.Temperature, 0)) {
		return fmt.Errorf("the kd loss has the temperature %v: give one above 0", l.Temperature)
	}
	return nil
}

// Epsilon and Momentum are BatchNorm's, as PyTorch has them by default.
const (
	Epsilon  = 1e-5
	Momentum = 0.1
)

// network builds the logits [N][classes] of x [N][C][H][W].
type network func(b *Builder, x *gorgonia.Node) *gorgonia.Node

// family is networks of one kind: it gives nil for a name that is not its own.
type family struct {
	names string
	find  func(Spec) (network, error)
}

var families []family

func register(names string, find func(Spec) (network, error)) {
	families = append(families, family{names, find})
}

func find(s Spec) (network, error) {
	var names []string
	for _, f := range families {
		n, err := f.find(s)
		if n != nil || err != nil {
			return n, err
		}
		names = append(names, f.names)
	}
	return nil, fmt.Errorf("%w %q; there are %s", ErrUnknown, s.Name, strings.Join(names, ", "))
}

// Graph is a network, differentiated.
type Graph struct {
	Expr         *gorgonia.ExprGraph
	Input        *gorgonia.Node // [N][C][H][W]
	Logits       *gorgonia.Node // [N][classes]
	Soft, Labels *gorgonia.Node // arguments of the losses; nil where none takes them
	Root         *gorgonia.Node // the loss or the probe; nil for inference
	Parameters   []Parameter    // in the order of the layers
	Nodes        map[string]*gorgonia.Node
	Gradients    map[string]*gorgonia.Node // by the trainable parameter's name; nil for inference
}

// Parameters are those of a network, in the order of its layers.
func Parameters(s Spec) ([]Parameter, error) {
	g, err := Inference(s, 1)
	if err != nil {
		return nil, err
	}
	return g.Parameters, nil
}

// building is held while gorgonia builds or differentiates a graph: all graphs share its constants, into which it writes.
var building sync.Mutex

func build(s Spec, images int, training bool) (g *Graph, err error) {
	building.Lock()
	defer building.Unlock()
	n, err := find(s)
	if err != nil {
		return nil, err
	}
	if images < 1 || s.Channels < 1 || s.Height < 1 || s.Width < 1 || s.Classes < 1 {
		return nil, fmt.Errorf("%s for %d images of %d x %d x %d and %d classes: every size must be positive", s.Name, images, s.Channels, s.Height, s.Width, s.Classes)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("building %s: %v", s.Name, p)
		}
	}()
	b := &Builder{Shape: s.Shape, Shortcut: s.Shortcut, graph: gorgonia.NewGraph(), training: training, nodes: map[string]*gorgonia.Node{}}
	g = &Graph{Expr: b.graph, Nodes: b.nodes}
	g.Input = gorgonia.NewTensor(b.graph, tensor.Float32, 4, gorgonia.WithShape(images, s.Channels, s.Height, s.Width), gorgonia.WithName("input"))
	g.Logits = n(b, g.Input)
	g.Parameters = b.parameters
	return g, nil
}

// Inference is the network with BatchNorm over its running statistics.
func Inference(s Spec, images int) (*Graph, error) { return build(s, images, false) }

// SquaredNorm is the inference network with the gradient of a logit, to be chosen when it runs, with respect to every trainable parameter.
func SquaredNorm(s Spec, images int) (*Graph, error) {
	g, err := build(s, images, false)
	if err != nil {
		return nil, err
	}
	g.Root = Op{Code: Probe, In: g.Logits.Shape()}.apply(g.Logits)
	return g, g.differentiate()
}

// Training is the network with BatchNorm over the batch's statistics, its loss, and the gradient of that.
func Training(s Spec, images int, l Loss) (*Graph, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	g, err := build(s, images, true)
	if err != nil {
		return nil, err
	}
	add := func(code Code, weight float64, y *gorgonia.Node) {
		if weight == 0 {
			return
		}
		loss := Op{Code: code, In: g.Logits.Shape()}.apply(g.Logits, y)
		if g.Root != nil {
			loss = Op{Code: Total, Layer: code.String()}.apply(g.Root, loss)
		}
		g.Root = loss
	}
	if l.Quadratic > 0 || l.KD > 0 {
		g.Soft = gorgonia.NewMatrix(g.Expr, tensor.Float32, gorgonia.WithShape(images, s.Classes), gorgonia.WithName("soft labels"))
	}
	if l.CE > 0 {
		g.Labels = gorgonia.NewVector(g.Expr, tensor.Float32, gorgonia.WithShape(images), gorgonia.WithName("labels"))
	}
	add(Quadratic, l.Quadratic, g.Soft)
	add(KD, l.KD, g.Soft)
	add(CE, l.CE, g.Labels)
	return g, g.differentiate()
}

func (g *Graph) differentiate() error {
	building.Lock()
	defer building.Unlock()
	var names []string
	var wrt gorgonia.Nodes
	for _, p := range g.Parameters {
		if p.Trainable {
			names, wrt = append(names, p.Name), append(wrt, g.Nodes[p.Name])
		}
	}
	grads, err := gorgonia.Grad(g.Root, wrt...)
	if err != nil {
		return fmt.Errorf("differentiating: %w", err)
	}
	g.Gradients = map[string]*gorgonia.Node{}
	for i, name := range names {
		g.Gradients[name] = grads[i]
	}
	return nil
}

// Children are a node's arguments, in order.
func (g *Graph) Children(n *gorgonia.Node) []*gorgonia.Node {
	var out []*gorgonia.Node
	for it := g.Expr.From(n.ID()); it.Next(); {
		out = append(out, it.Node().(*gorgonia.Node))
	}
	return out
}
