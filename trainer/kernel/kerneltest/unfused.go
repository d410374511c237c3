package kerneltest

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// unfused gives the arguments of a fused convolution as the kinds that it stands for leave them, launched one after the other on the same set.
func unfused(t *testing.T, set kernel.Set, op kernel.Op, in []data) []data {
	t.Helper()
	u := &unfusing{t: t, set: set, op: op, forward: op.N / op.Repeats()}
	for i, a := range op.Args() {
		if a.Access != kernel.Out {
			u.read = append(u.read, in[i])
		}
	}
	switch op.Kind {
	case kernel.ConvForward:
		u.convForward()
	case kernel.ConvDataGrad:
		dy := u.gradient()
		u.convDataGrad(dy)
		if u.op.Beside == kernel.WeightGrad {
			op := u.conv()
			op.Kind, op.GroupStride = kernel.ConvWeightGrad, u.op.GroupStride
			u.made = append(u.made, u.launch(op, u.input(u.op.Input, 0), dy)...)
		}
	default:
		u.convWeights()
	}
	out := append([]data(nil), in...)
	for i, a := range op.Args() {
		if a.Access != kernel.In {
			out[i], u.made = u.made[0], u.made[1:]
		}
	}
	return out
}

// unfusing is a fused op on its way.
type unfusing struct {
	t       *testing.T
	set     kernel.Set
	op      kernel.Op
	forward int    // images of a group in the forward pass
	read    []data // what is still to be read, in the order of the arguments
	made    []data // in the order of the arguments
}

// next takes the next n arguments.
func (u *unfusing) next(n int) []data {
	taken := u.read[:n:n]
	u.read = u.read[n:]
	return taken
}

func (u *unfusing) launch(op kernel.Op, read ...data) []data {
	u.t.Helper()
	return launched(u.t, u.set, op, read...)
}

// conv is the convolution by itself.
func (u *unfusing) conv() kernel.Op {
	o := u.op
	return kernel.Op{Kind: o.Kind, Groups: o.Groups, N: o.N, C: o.C, H: o.H, W: o.W, K: o.K, R: o.R, Stride: o.Stride, GroupStride: o.GroupStride}
}

// narrow is an op over so many images of a group of the convolution's input, wide over its output.
func (u *unfusing) narrow(kind kernel.Kind, images int) kernel.Op {
	return kernel.Op{Kind: kind, Groups: u.op.Groups, N: images, C: u.op.C, H: u.op.H, W: u.op.W}
}

func (u *unfusing) wide(kind kernel.Kind) kernel.Op {
	return kernel.Op{Kind: kind, Groups: u.op.Groups, N: u.op.N, C: u.op.K, H: u.op.OutH(), W: u.op.OutW()}
}

// norm is NormForward of x, whose statistics and coefficients come next.
func (u *unfusing) norm(x data, images, stride int) data {
	op := u.narrow(kernel.NormForward, images)
	op.Epsilon, op.GroupStride = u.op.Epsilon, stride
	return u.launch(op, append([]data{x}, u.next(4)...)...)[0]
}

// input is the forward activation that the next arguments stand for.
func (u *unfusing) input(f kernel.Fusion, stride int) data {
	x := u.next(1)[0]
	if f == kernel.Alone {
		return x
	}
	x = u.norm(x, u.forward, stride)
	if f == kernel.NormAddReLU {
		x = u.launch(u.narrow(kernel.Add, u.forward), x, u.next(1)[0])[0]
	}
	return u.launch(u.narrow(kernel.ReLU, u.forward), x)[0]
}

// gradient is the gradient of the convolution's output that the next arguments stand for.
func (u *unfusing) gradient() data {
	switch u.op.Before {
	case kernel.NormGrad:
		op := u.wide(kernel.NormDataGrad)
		op.Epsilon, op.Count, op.GroupStride = u.op.Epsilon, u.op.Count, u.op.BeforeStride
		return u.launch(op, u.next(7)...)[0]
	case kernel.NormEvalGrad:
		op := u.wide(kernel.NormEvalDataGrad)
		op.Epsilon = u.op.Epsilon
		return u.launch(op, u.next(3)...)[0]
	}
	return u.next(1)[0]
}

func (u *unfusing) convForward() {
	x := u.input(u.op.Before, u.op.BeforeStride)
	if u.op.Before == kernel.NormAddReLU {
		u.made = append(u.made, x)
	}
	y := u.launch(u.conv(), x, u.next(1)[0])[0]
	u.made = append(u.made, y)
	switch u.op.After {
	case kernel.Stats:
		op := u.wide(kernel.NormStats)
		op.RecordStride = u.op.RecordStride
		u.made = append(u.made, u.launch(op, y, u.next(1)[0])...)
	case kernel.Sums:
		u.made = append(u.made, u.launch(u.wide(kernel.NormSums), y, u.next(1)[0])...)
	}
}

func (u *unfusing) convDataGrad(dy data) {
	op := u.conv()
	op.GroupStride = 0
	g := u.launch(op, dy, u.next(1)[0])[0]
	var forward data // what ReLU gave, or took: it is above 0 in the same places
	var statistics []data
	switch u.op.After {
	case kernel.Alone:
		u.made = append(u.made, g)
		return
	case kernel.ReLUNormSums:
		statistics = u.read[:3]
		forward = u.norm(u.next(1)[0], u.forward, 0)
	case kernel.ReLUNormSquares:
		statistics = u.read[:3]
		forward = u.norm(u.next(1)[0], u.forward, -1)
	case kernel.AddReLUNormSums, kernel.AddReLUNormSquares:
		g = u.launch(u.narrow(kernel.Add, u.op.N), g, u.next(1)[0])[0]
		forward = u.next(1)[0]
		statistics = u.next(3)
	}
	mask := u.narrow(kernel.ReLUGrad, u.op.N)
	mask.Repeat = u.op.Repeat
	g = u.launch(mask, g, forward)[0]
	op = u.narrow(kernel.NormGradSums, u.op.N)
	op.GroupStride = u.op.AfterStride
	if u.op.After == kernel.ReLUNormSquares || u.op.After == kernel.AddReLUNormSquares {
		op = u.narrow(kernel.NormSquares, u.op.N)
		op.Repeat = u.op.Repeat
		last := len(u.read) - 1 // q, behind all inputs
		statistics = append(statistics[:3:3], u.read[last])
		u.read = u.read[:last]
	}
	op.Epsilon = u.op.Epsilon
	u.made = append(append(u.made, g), u.launch(op, append([]data{g}, statistics...)...)...)
}

// convWeights is ConvWeightGrad and ConvSquares, whose statistics of x are those of each group and of all images.
func (u *unfusing) convWeights() {
	op, stride := u.conv(), 0
	if op.Kind == kernel.ConvSquares {
		op.Repeat, stride = u.op.Repeat, -1
	}
	x := u.input(u.op.Input, stride)
	read := []data{x, u.gradient()}
	u.made = u.launch(op, append(read, u.next(len(u.read))...)...)
}
