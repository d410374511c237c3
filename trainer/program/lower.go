package program

import (
	"fmt"
	"strings"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// lowering turns the nodes of a graph into steps, each after what it needs.
type lowering struct {
	graph   *model.Graph
	state   *state
	block   int               // channels side by side in an activation
	half    bool              // activations, and what convolutions take of weights, are Half
	packed  map[string]*Value // those weights, by parameter
	groups  int               // shards side by side
	images  int               // of one group
	repeat  int               // gradients of an image side by side
	steps   []*Step
	values  map[int64]*Value  // of the nodes lowered so far
	stats   map[string]*stats // of the BatchNorms in training, by layer
	given   map[*gorgonia.Node]*Value
	train   *training // what training needs; nil otherwise
	squares *Value    // where the squared norms go; nil otherwise
}

// stats are a BatchNorm's statistics over each group's images.
type stats struct{ mean, variance *Value }

func newLowering(g *model.Graph, s *state, groups, images int) *lowering {
	return &lowering{graph: g, state: s, block: s.machine.set.Traits().Block, half: s.machine.set.Traits().Half, packed: map[string]*Value{}, groups: groups, images: images, repeat: 1, values: map[int64]*Value{}, stats: map[string]*stats{}, given: map[*gorgonia.Node]*Value{}}
}

// real is a new value of the arena.
func (l *lowering) real(name string, n int) *Value { return &Value{Name: name, Len: n} }

// activation is a new value for a node's result.
func (l *lowering) activation(n *gorgonia.Node, op *model.Op) *Value {
	return l.like(n, strings.TrimSpace(strings.ToLower(op.Code.String())+" "+op.Layer))
}

// like is a new value of a node's shape. What has height and width is an activation.
func (l *lowering) like(n *gorgonia.Node, name string) *Value {
	v := l.real(name, l.size(n.Shape()))
	if l.half && len(n.Shape()) == 4 {
		v.kind = kernel.Half
	}
	return v
}

// size is the elements of a value whose first dimension is the images; one with height and width lies in whole blocks of channels.
func (l *lowering) size(s tensor.Shape) int {
	n := s.TotalSize() * l.repeat
	if len(s) == 4 {
		n = n / s[1] * kernel.Op{Block: l.block}.Padded(s[1])
	}
	return n
}

func (l *lowering) emit(op kernel.Op, outputs int, args ...*Value) {
	if op.Groups == 0 {
		op.Groups, op.N = l.groups, l.images*l.repeat
	}
	l.steps = append(l.steps, &Step{Kind: Compute, Op: op, Args: args, Outputs: outputs})
}

// lower makes the steps that a node needs, and its own, and gives its value; nil for gradients that go to a bucket.
func (l *lowering) lower(n *gorgonia.Node) (*Value, error) {
	if v, done := l.values[n.ID()]; done {
		return v, nil
	}
	v, err := l.visit(n)
	if err != nil {
		return nil, err
	}
	l.values[n.ID()] = v
	return v, nil
}

func (l *lowering) visit(n *gorgonia.Node) (*Value, error) {
	if v, there := l.given[n]; there {
		return v, nil
	}
	if n.Op() == nil {
		if w, there := l.packed[n.Name()]; there {
			return w, nil
		}
		return l.state.value(n.Name()), nil
	}
	children := l.graph.Children(n)
	var in []*Value
	for _, c := range children {
		if isSeed(c) {
			in = append(in, nil)
			continue
		}
		v, err := l.lower(c)
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	op, ours := n.Op().(*model.Op)
	if !ours {
		// gorgonia adds up the gradients of a node that is used twice with its own addition.
		if s := fmt.Sprint(n.Op()); len(in) == 2 && strings.HasPrefix(s, "+ ") {
			out := l.like(n, "sum")
			l.emit(l.geometry(kernel.Add, &model.Op{In: n.Shape()}), 1, in[0], in[1], out)
			return out, nil
		}
		return nil, fmt.Errorf("the graph has an op that no kernel computes: %v", n.Op())
	}
	if backward, there := gradients[op.Code]; there {
		return backward(l, n, op, in)
	}
	return l.forward(n, op, in)
}

// isSeed says whether a node is the constant 1 with which gorgonia starts the backward pass; the losses' gradients have it built in.
func isSeed(n *gorgonia.Node) bool {
	return n.Op() != nil && n.IsScalar() && strings.HasPrefix(fmt.Sprint(n.Op()), "const")
}

// geometry fills an op's shapes from those of the forward op's input, which lies in blocks if it has height and width.
func (l *lowering) geometry(kind kernel.Kind, op *model.Op) kernel.Op {
	o := kernel.Op{Kind: kind, C: op.In[1], H: 1, W: 1, Stride: op.Stride}
	if len(op.In) == 4 {
		o.H, o.W, o.Block, o.Half = op.In[2], op.In[3], l.block, l.half
	}
	return o
}

func (l *lowering) forward(n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
	y := l.activation(n, op)
	switch op.Code {
	case model.Conv:
		w := l.graph.Children(n)[1].Shape()
		o := l.geometry(kernel.ConvForward, op)
		o.K, o.R = w[0], w[2]
		l.emit(o, 1, in[0], in[1], y)
	case model.Norm:
		s := l.train.statistics(l, op, in[0])
		o := l.geometry(kernel.NormForward, op)
		o.Epsilon = model.Epsilon
		l.emit(o, 1, in[0], s.mean, s.variance, in[1], in[2], y)
	case model.NormEval:
		o := l.geometry(kernel.NormForward, op)
		o.Epsilon, o.GroupStride = model.Epsilon, -1
		l.emit(o, 1, in[0], in[3], in[4], in[1], in[2], y)
	case model.ReLU:
		l.emit(l.geometry(kernel.ReLU, op), 1, in[0], y)
	case model.Sum:
		l.emit(l.geometry(kernel.Add, op), 1, in[0], in[1], y)
	case model.Shortcut:
		o := l.geometry(kernel.ShortcutForward, op)
		o.K = op.Out[1]
		l.emit(o, 1, in[0], y)
	case model.Pool:
		l.emit(l.geometry(kernel.PoolForward, op), 1, in[0], y)
	case model.Flatten:
		return l.reshape(kernel.Flatten, n, op, in[0]), nil
	case model.Linear:
		o := l.geometry(kernel.LinearForward, op)
		o.K = op.Out[1]
		l.emit(o, 1, in[0], in[1], in[2], y)
	case model.Quadratic, model.KD, model.CE:
		return l.train.loss(l, op, in), nil
	case model.Total:
		out := l.real("loss", l.groups)
		l.emit(kernel.Elementwise(kernel.Add, l.groups), 1, in[0], in[1], out)
		return out, nil
	case model.Probe:
		return nil, nil
	default:
		return nil, fmt.Errorf("no kernel computes %v", op)
	}
	return y, nil
}

// reshape goes between an activation and a plain vector, which are the same where blocks are of one channel.
func (l *lowering) reshape(kind kernel.Kind, n *gorgonia.Node, op *model.Op, in *Value) *Value {
	if l.block <= 1 {
		return in
	}
	out := l.activation(n, op)
	l.emit(l.geometry(kind, op), 1, in, out)
	return out
}
