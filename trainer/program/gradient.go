package program

import (
	"gorgonia.org/gorgonia"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// gradients lower the backward ops. Gradients of parameters go to their buckets in training, and are squared and added up by image for the
// gradient norm, without ever being stored whole.
var gradients map[model.Code]func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error)

func init() {
	gradients = map[model.Code]func(*lowering, *gorgonia.Node, *model.Op, []*Value) (*Value, error){
		model.ConvDataGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			w := l.graph.Children(n)[1].Shape()
			o := l.geometry(kernel.ConvDataGrad, op)
			o.K, o.R = w[0], w[2]
			l.emit(o, 1, in[0], in[1], dx)
			return dx, nil
		},
		model.ConvWeightGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			o := l.geometry(kernel.ConvWeightGrad, op)
			o.K, o.R = op.Out[0], op.Out[2]
			return nil, l.weightGrad(o, kernel.ConvSquares, op.Layer+".weight", in)
		},
		model.LinearWeightGrad: func(l *lowering, _ *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			o := l.geometry(kernel.LinearWeightGrad, op)
			o.K = op.Out[0]
			return nil, l.weightGrad(o, kernel.LinearSquares, op.Layer+".weight", in)
		},
		model.LinearBiasGrad: func(l *lowering, _ *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			if l.squares != nil {
				return nil, nil // LinearSquares has it
			}
			o := l.geometry(kernel.LinearBiasGrad, op)
			o.K = op.Out[0]
			return nil, l.weightGrad(o, 0, op.Layer+".bias", in)
		},
		model.LinearDataGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			o := l.geometry(kernel.LinearDataGrad, op)
			o.K = l.graph.Children(n)[1].Shape()[0]
			l.emit(o, 1, in[0], in[1], dx)
			return dx, nil
		},
		model.NormSums: func(l *lowering, _ *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			return l.train.normSums(l, op, in), nil
		},
		model.NormDataGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			l.train.normDataGrad(l, op, in, dx)
			return dx, nil
		},
		model.NormGamma: nothing, model.NormBeta: nothing,
		model.NormEvalSums: func(l *lowering, _ *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			o := l.geometry(kernel.NormSquares, op)
			o.Epsilon, o.Repeat = model.Epsilon, l.repeat
			l.emit(o, 1, in[0], in[1], in[2], in[3], l.squares)
			return nil, nil
		},
		model.NormEvalDataGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			o := l.geometry(kernel.NormEvalDataGrad, op)
			o.Epsilon = model.Epsilon
			l.emit(o, 1, in[0], in[3], in[2], dx)
			return dx, nil
		},
		model.ReLUGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			o := l.geometry(kernel.ReLUGrad, op)
			o.Repeat = l.repeat
			l.emit(o, 1, in[0], in[1], dx)
			return dx, nil
		},
		model.PoolGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			l.emit(l.geometry(kernel.PoolGrad, op), 1, in[0], dx)
			return dx, nil
		},
		model.Unflatten: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			return l.reshape(kernel.Unflatten, n, op, in[0]), nil
		},
		model.ShortcutGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
			dx := l.activation(n, op)
			o := l.geometry(kernel.ShortcutGrad, op)
			o.K = l.graph.Children(n)[0].Shape()[1]
			l.emit(o, 1, in[0], dx)
			return dx, nil
		},
		model.QuadraticGrad: lossGrad(kernel.QuadraticGrad), model.KDGrad: lossGrad(kernel.KDGrad), model.CEGrad: lossGrad(kernel.CEGrad),
		model.ProbeGrad: func(l *lowering, n *gorgonia.Node, op *model.Op, _ []*Value) (*Value, error) {
			df := l.activation(n, op)
			o := l.geometry(kernel.OneHot, op)
			o.K = o.C
			l.emit(o, 1, df)
			return df, nil
		},
	}
}

// nothing: the gradients of gamma and beta were written when their sums were made.
func nothing(*lowering, *gorgonia.Node, *model.Op, []*Value) (*Value, error) { return nil, nil }

func lossGrad(kind kernel.Kind) func(*lowering, *gorgonia.Node, *model.Op, []*Value) (*Value, error) {
	return func(l *lowering, n *gorgonia.Node, op *model.Op, in []*Value) (*Value, error) {
		df := l.activation(n, op)
		l.emit(l.train.lossOp(l, kind, op), 1, in[0], in[1], df)
		return df, nil
	}
}

// weightGrad emits a parameter's gradient into its bucket, or the squares of it by image.
func (l *lowering) weightGrad(o kernel.Op, squares kernel.Kind, name string, in []*Value) error {
	if l.squares != nil {
		o.Kind, o.Repeat = squares, l.repeat
		l.emit(o, 1, in[0], in[1], l.squares)
		return nil
	}
	out, stride := l.train.gradient(name)
	o.GroupStride = stride
	l.emit(o, 1, append(in, out)...)
	return nil
}
