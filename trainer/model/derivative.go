package model

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// DiffWRT implements gorgonia.SDOp: labels, statistics and what gradients are made of are constants.
func (o *Op) DiffWRT(inputs int) []bool {
	d := make([]bool, inputs)
	differentiable := map[Code]int{Conv: 2, Norm: 3, NormEval: 3, ReLU: 1, Sum: 2, Shortcut: 1, Pool: 1, Flatten: 1, Linear: 3, Quadratic: 1, KD: 1, CE: 1, Total: 2, Probe: 1}[o.Code]
	for i := range differentiable {
		d[i] = true
	}
	return d
}

// SymDiff implements gorgonia.SDOp: the gradient with respect to each input, as nodes. An input without one gets a node that nobody reads,
// because gorgonia looks at all of them.
func (o *Op) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	g := func(code Code, shape tensor.Shape, args ...*gorgonia.Node) *gorgonia.Node {
		return Op{Code: code, Layer: o.Layer, Stride: o.Stride, In: o.In, Out: shape}.apply(args...)
	}
	constant := func(of *gorgonia.Node) *gorgonia.Node {
		return Op{Code: none, Layer: o.Layer, Out: of.Shape()}.apply(of)
	}
	switch o.Code {
	case Conv:
		return gorgonia.Nodes{g(ConvDataGrad, in[0].Shape(), grad, in[1]), g(ConvWeightGrad, in[1].Shape(), in[0], grad)}, nil
	case Norm:
		sums := g(NormSums, tensor.Shape{2, o.In[1]}, grad, in[0], in[1])
		return gorgonia.Nodes{g(NormDataGrad, in[0].Shape(), grad, in[0], in[1], sums), g(NormGamma, in[1].Shape(), sums), g(NormBeta, in[2].Shape(), sums)}, nil
	case NormEval:
		sums := g(NormEvalSums, tensor.Shape{2, o.In[1]}, grad, in[0], in[3], in[4])
		return gorgonia.Nodes{g(NormEvalDataGrad, in[0].Shape(), grad, in[0], in[1], in[4]), g(NormGamma, in[1].Shape(), sums), g(NormBeta, in[2].Shape(), sums), constant(in[3]), constant(in[4])}, nil
	case ReLU:
		return gorgonia.Nodes{g(ReLUGrad, in[0].Shape(), grad, out)}, nil
	case Sum, Total:
		return gorgonia.Nodes{grad, grad}, nil
	case Shortcut:
		return gorgonia.Nodes{g(ShortcutGrad, in[0].Shape(), grad)}, nil
	case Pool:
		return gorgonia.Nodes{g(PoolGrad, in[0].Shape(), grad)}, nil
	case Flatten:
		return gorgonia.Nodes{g(Unflatten, in[0].Shape(), grad)}, nil
	case Linear:
		return gorgonia.Nodes{g(LinearDataGrad, in[0].Shape(), grad, in[1]), g(LinearWeightGrad, in[1].Shape(), in[0], grad), g(LinearBiasGrad, in[2].Shape(), grad)}, nil
	case Quadratic:
		return gorgonia.Nodes{g(QuadraticGrad, in[0].Shape(), in[0], in[1]), constant(in[1])}, nil
	case KD:
		return gorgonia.Nodes{g(KDGrad, in[0].Shape(), in[0], in[1]), constant(in[1])}, nil
	case CE:
		return gorgonia.Nodes{g(CEGrad, in[0].Shape(), in[0], in[1]), constant(in[1])}, nil
	case Probe:
		return gorgonia.Nodes{g(ProbeGrad, in[0].Shape(), in[0])}, nil
	}
	return nil, fmt.Errorf("%v has no derivative", o.Code)
}
