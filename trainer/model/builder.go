package model

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Kind says what a parameter is, and so where it starts.
type Kind uint8

const (
	Weight   Kind = iota + 1
	Bias          // of a linear layer
	Gamma         // of a BatchNorm
	Beta          //
	Mean          // running, of a BatchNorm; not trainable
	Variance      // running, of a BatchNorm, unbiased; not trainable
)

// Parameter is one tensor of a network.
type Parameter struct {
	Name      string // PyTorch's: layer1.0.conv1.weight
	Shape     []int
	Trainable bool
	Kind      Kind
	FanIn     int // inputs of one output, for the start of a Weight
}

// Len is the number of its elements.
func (p Parameter) Len() int { return tensor.Shape(p.Shape).TotalSize() }

// Shapes are the shapes of parameters by name.
func Shapes(ps []Parameter) map[string][]int {
	m := make(map[string][]int, len(ps))
	for _, p := range ps {
		m[p.Name] = p.Shape
	}
	return m
}

// Builder puts a network's layers together; a network is a function of a Builder and its input.
type Builder struct {
	Shape      Shape
	Shortcut   string // "A" or "B"
	graph      *gorgonia.ExprGraph
	training   bool
	parameters []Parameter
	nodes      map[string]*gorgonia.Node
}

func (b *Builder) parameter(name string, kind Kind, fanIn int, shape ...int) *gorgonia.Node {
	b.parameters = append(b.parameters, Parameter{Name: name, Shape: shape, Trainable: kind != Mean && kind != Variance, Kind: kind, FanIn: fanIn})
	n := gorgonia.NewTensor(b.graph, tensor.Float32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name))
	b.nodes[name] = n
	return n
}

// Conv is a convolution with a window of size and no bias: parameter NAME.weight.
func (b *Builder) Conv(name string, x *gorgonia.Node, channels, size, stride int) *gorgonia.Node {
	in := x.Shape()
	w := b.parameter(name+".weight", Weight, in[1]*size*size, channels, in[1], size, size)
	out := tensor.Shape{in[0], channels, (in[2]-1)/stride + 1, (in[3]-1)/stride + 1}
	return Op{Code: Conv, Layer: name, Stride: stride, In: in, Out: out}.apply(x, w)
}

// Norm is BatchNorm: parameters NAME.weight, .bias, .running_mean and .running_var.
func (b *Builder) Norm(name string, x *gorgonia.Node) *gorgonia.Node {
	c := x.Shape()[1]
	gamma, beta := b.parameter(name+".weight", Gamma, 0, c), b.parameter(name+".bias", Beta, 0, c)
	mean, variance := b.parameter(name+".running_mean", Mean, 0, c), b.parameter(name+".running_var", Variance, 0, c)
	if b.training {
		return Op{Code: Norm, Layer: name, In: x.Shape(), Out: x.Shape()}.apply(x, gamma, beta)
	}
	return Op{Code: NormEval, Layer: name, In: x.Shape(), Out: x.Shape()}.apply(x, gamma, beta, mean, variance)
}

// ReLU is max(x, 0).
func (b *Builder) ReLU(name string, x *gorgonia.Node) *gorgonia.Node {
	return Op{Code: ReLU, Layer: name, In: x.Shape(), Out: x.Shape()}.apply(x)
}

// Add is x + y.
func (b *Builder) Add(name string, x, y *gorgonia.Node) *gorgonia.Node {
	return Op{Code: Sum, Layer: name, In: x.Shape(), Out: x.Shape()}.apply(x, y)
}

// Widen is ResNet's shortcut A: a subsampled x with channels of zeros around its own.
func (b *Builder) Widen(name string, x *gorgonia.Node, channels, stride int) *gorgonia.Node {
	in := x.Shape()
	return Op{Code: Shortcut, Layer: name, Stride: stride, In: in, Out: tensor.Shape{in[0], channels, (in[2]-1)/stride + 1, (in[3]-1)/stride + 1}}.apply(x)
}

// Pool is the mean over each channel of an image.
func (b *Builder) Pool(name string, x *gorgonia.Node) *gorgonia.Node {
	return Op{Code: Pool, Layer: name, In: x.Shape(), Out: x.Shape()[:2].Clone()}.apply(x)
}

// Flatten makes an image one row.
func (b *Builder) Flatten(name string, x *gorgonia.Node) *gorgonia.Node {
	s := x.Shape()
	return Op{Code: Flatten, Layer: name, In: s, Out: tensor.Shape{s[0], s[1] * s[2] * s[3]}}.apply(x)
}

// Linear is w x + b: parameters NAME.weight and .bias.
func (b *Builder) Linear(name string, x *gorgonia.Node, outputs int) *gorgonia.Node {
	in := x.Shape()
	w, bias := b.parameter(name+".weight", Weight, in[1], outputs, in[1]), b.parameter(name+".bias", Bias, 0, outputs)
	return Op{Code: Linear, Layer: name, In: in, Out: tensor.Shape{in[0], outputs}}.apply(x, w, bias)
}
