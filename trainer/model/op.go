// Package model holds networks and losses as gorgonia graphs: ops with shapes and symbolic derivatives, and no arithmetic. gorgonia.Grad
// differentiates them; package program lowers the result to kernels.
package model

import (
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"strings"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Code says what an Op stands for. A network's images are the first dimension of its activations.
type Code uint8

const (
	Conv      Code = iota + 1 // x [N][C][H][W], w [K][C][R][R] -> y; zero padding R/2
	Norm                      // x, gamma [C], beta [C] -> y; BatchNorm over the statistics of x
	NormEval                  // x, gamma, beta, mean [C], variance [C] -> y; BatchNorm over given statistics
	ReLU                      // x -> y
	Sum                       // a, b -> a + b
	Shortcut                  // x -> y: every Stride-th row and column, padded with channels of zeros (option A)
	Pool                      // x [N][C][H][W] -> [N][C], the mean over an image's channel
	Flatten                   // x [N][C][H][W] -> [N][C*H*W]
	Linear                    // x [N][C], w [K][C], b [K] -> y [N][K]
	Quadratic                 // f [N][K], y [N][K] -> loss
	KD                        // f, y -> loss
	CE                        // f, labels [N] -> loss
	Total                     // loss, loss -> loss
	Probe                     // f -> one logit of each image, chosen when it runs: the root of the gradient norm

	ConvDataGrad     // dy, w -> dx
	ConvWeightGrad   // x, dy -> dw
	NormSums         // dy, x, gamma -> [2][C]: dgamma, dbeta
	NormDataGrad     // dy, x, gamma, sums -> dx
	NormGamma        // sums -> dgamma
	NormBeta         // sums -> dbeta
	NormEvalDataGrad // dy, x, gamma, variance -> dx
	NormEvalSums     // dy, x, mean, variance -> [2][C]
	ReLUGrad         // dy, y -> dx
	ShortcutGrad     // dy -> dx
	PoolGrad         // dy -> dx
	Unflatten        // dy -> dx
	LinearDataGrad   // dy, w -> dx
	LinearWeightGrad // x, dy -> dw
	LinearBiasGrad   // dy -> db
	QuadraticGrad    // f, y -> df
	KDGrad           // f, y -> df
	CEGrad           // f, labels -> df
	ProbeGrad        // f -> df: 1 at the chosen logit
	none             // of a place that has no derivative
)

var codeNames = strings.Fields("? Conv Norm NormEval ReLU Sum Shortcut Pool Flatten Linear Quadratic KD CE Total Probe " +
	"ConvDataGrad ConvWeightGrad NormSums NormDataGrad NormGamma NormBeta NormEvalDataGrad NormEvalSums ReLUGrad ShortcutGrad PoolGrad Unflatten " +
	"LinearDataGrad LinearWeightGrad LinearBiasGrad QuadraticGrad KDGrad CEGrad ProbeGrad none")

func (c Code) String() string { return codeNames[c] }

// Op is a node's operation. It implements gorgonia.Op and gorgonia.SDOp.
type Op struct {
	Code   Code
	Layer  string       // the layer that it belongs to; with it, two layers' ops on one input stay apart
	Stride int          // of Conv and Shortcut and their gradients
	In     tensor.Shape // shape of the *forward* op's input x
	Out    tensor.Shape // shape of the result; nil: a scalar
	args   []int        // dimensions of each argument
}

// errLowered is what running a graph in gorgonia gets.
var errLowered = errors.New("the graph is lowered by package program, not executed by gorgonia")

func typeOf(dims int) hm.Type {
	if dims == 0 {
		return tensor.Float32
	}
	return gorgonia.TensorType{Dims: dims, Of: tensor.Float32}
}

// Arity implements gorgonia.Op.
func (o *Op) Arity() int { return len(o.args) }

// Type implements gorgonia.Op.
func (o *Op) Type() hm.Type {
	var ts []hm.Type
	for _, d := range o.args {
		ts = append(ts, typeOf(d))
	}
	return hm.NewFnType(append(ts, typeOf(len(o.Out)))...)
}

// InferShape implements gorgonia.Op: the shape was settled when the op was made.
func (o *Op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	if o.Out == nil {
		return tensor.ScalarShape(), nil
	}
	return o.Out, nil
}

// Do implements gorgonia.Op, and refuses.
func (o *Op) Do(...gorgonia.Value) (gorgonia.Value, error) { return nil, errLowered }

// ReturnsPtr implements gorgonia.Op.
func (o *Op) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (o *Op) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (o *Op) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (o *Op) WriteHash(h hash.Hash) { fmt.Fprint(h, o.String(), o.In, o.Out) }

// Hashcode implements gorgonia.Op.
func (o *Op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *Op) String() string { return fmt.Sprintf("%v(%s)/%d", o.Code, o.Layer, o.Stride) }

// apply makes a node of op over args.
func (o Op) apply(args ...*gorgonia.Node) *gorgonia.Node {
	for _, a := range args {
		o.args = append(o.args, a.Dims())
	}
	return gorgonia.Must(gorgonia.ApplyOp(&o, args...))
}
