package kernel

import (
	"fmt"
	"slices"
)

// Access is what a kernel does with an argument.
type Access uint8

const (
	In    Access = iota // read
	Out                 // overwritten
	InOut               // read and written: in place, or added to
)

// Arg describes one argument of an Op: Parts parts of Part elements, Stride elements apart. Between the parts nothing is read or written.
type Arg struct {
	Name   string
	Type   Type
	Access Access
	Part   int
	Parts  int
	Stride int

	// Of an activation, which is one part, [images][ceil(Channels/Block)][Pixels][Block] with the op's Block; 0: the argument is none.
	Channels int
	Pixels   int
}

// Len is the elements from the first to the last.
func (a Arg) Len() int { return (a.Parts-1)*a.Stride + a.Part }

// Args are the arguments of a checked op (see Check) in Launch's order, without the workspace.
func (o Op) Args() []Arg {
	m := o.Groups * o.N
	flat := func(name string, t Type, access Access, n int) Arg {
		return Arg{Name: name, Type: t, Access: access, Part: n, Parts: 1, Stride: n}
	}
	in := func(name string, n int) Arg { return flat(name, Real, In, n) }
	out := func(name string, n int) Arg { return flat(name, Real, Out, n) }
	parts := func(name string, access Access, part, stride int) Arg {
		switch stride {
		case -1:
			return flat(name, Real, access, part)
		case 0:
			stride = part
		}
		return Arg{Name: name, Type: Real, Access: access, Part: part, Parts: o.Groups, Stride: stride}
	}
	group := func(name string, part int) Arg { return parts(name, Out, part, o.GroupStride) }

	numbers := Real // what activations are made of
	if o.Half {
		numbers = Half
	}
	activation := func(name string, access Access, images, channels, pixels int) Arg {
		a := flat(name, numbers, access, images*o.Padded(channels)*pixels)
		a.Channels, a.Pixels = channels, pixels
		return a
	}

	c, plane := o.C, o.H*o.W
	before := m / o.Repeats() // images of the forward pass
	// narrow has the shape of the forward op's input, wide that of its output.
	narrow := func(name string, access Access, images int) Arg { return activation(name, access, images, c, plane) }
	wide := func(name string, access Access, images int) Arg {
		return activation(name, access, images, o.K, o.OutH()*o.OutW())
	}
	weights := o.K * o.C * o.R * o.R // and so are their gradients, packed or not
	filters := in("w", weights)
	if o.Half {
		filters = flat("w", Half, In, o.R*o.R*o.Padded(o.K)*o.Padded(o.C))
	}
	f := fused{o, in, parts}
	switch o.Kind {
	case View:
		return []Arg{flat("pixels", Byte, In, m*c*plane), flat("geometry", Int, In, 3*m), in("mean", c), in("std", c), narrow("x", Out, m)}
	case ConvForward:
		args := append(f.input(o.Before, narrow("x", In, m), o.BeforeStride), filters)
		return f.after(args, wide("y", Out, m), m)
	case ConvDataGrad:
		args := append(f.gradient(wide("dy", In, m)), filters)
		args = f.after(args, narrow("dx", Out, m), before)
		if o.Beside == WeightGrad {
			inputs := slices.IndexFunc(args, func(a Arg) bool { return a.Access != In })
			args = slices.Insert(args, inputs, f.input(o.Input, narrow("x", In, m), 0)...)
			args = append(args, group("dw", weights))
		}
		return args
	case ConvWeightGrad:
		return append(append(f.input(o.Input, narrow("x", In, m), 0), f.gradient(wide("dy", In, m))...), group("dw", weights))
	case ConvSquares:
		return append(append(f.input(o.Input, narrow("x", In, before), -1), f.gradient(wide("dy", In, m))...), flat("q", Real, InOut, m))
	case NormStats:
		return []Arg{narrow("x", In, m), in("shift", c), parts("mean", Out, c, 0), parts("variance", Out, c, 0), parts("record", Out, 2*c, o.RecordStride)}
	case NormSums:
		return []Arg{narrow("x", In, m), in("shift", c), group("sums", 2*c)}
	case NormFinish:
		return []Arg{in("sums", 2*c), in("shift", c), parts("mean", Out, c, 0), parts("variance", Out, c, 0), parts("record", Out, 2*c, o.RecordStride)}
	case NormForward:
		return []Arg{narrow("x", In, m), parts("mean", In, c, o.GroupStride), parts("variance", In, c, o.GroupStride), in("gamma", c), in("beta", c), narrow("y", Out, m)}
	case NormGradSums:
		return []Arg{narrow("dy", In, m), narrow("x", In, m), parts("mean", In, c, 0), parts("variance", In, c, 0), group("dgamma", c), group("dbeta", c)}
	case NormDataGrad:
		return []Arg{narrow("dy", In, m), narrow("x", In, m), parts("mean", In, c, 0), parts("variance", In, c, 0), in("gamma", c),
			parts("dgamma", In, c, o.GroupStride), parts("dbeta", In, c, o.GroupStride), narrow("dx", Out, m)}
	case NormEvalDataGrad:
		return []Arg{narrow("dy", In, m), in("variance", c), in("gamma", c), narrow("dx", Out, m)}
	case NormSquares:
		return []Arg{narrow("dy", In, m), narrow("x", In, before), in("mean", c), in("variance", c), flat("q", Real, InOut, m)}
	case ReLU:
		return []Arg{narrow("x", In, m), narrow("y", Out, m)}
	case ReLUGrad:
		return []Arg{narrow("dy", In, m), narrow("y", In, before), narrow("dx", Out, m)}
	case Add:
		return []Arg{narrow("a", In, m), narrow("b", In, m), narrow("y", Out, m)}
	case ShortcutForward:
		return []Arg{narrow("x", In, m), wide("y", Out, m)}
	case ShortcutGrad:
		return []Arg{wide("dy", In, m), narrow("dx", Out, m)}
	case PoolForward:
		return []Arg{narrow("x", In, m), out("y", m*c)}
	case PoolGrad:
		return []Arg{in("dy", m*c), narrow("dx", Out, m)}
	case Flatten:
		return []Arg{narrow("x", In, m), out("y", m*c*plane)}
	case Unflatten:
		return []Arg{in("dy", m*c*plane), narrow("dx", Out, m)}
	case LinearForward:
		return []Arg{in("x", m*c), in("w", o.K*c), in("b", o.K), out("y", m*o.K)}
	case LinearDataGrad:
		return []Arg{in("dy", m*o.K), in("w", o.K*c), out("dx", m*c)}
	case LinearWeightGrad:
		return []Arg{in("x", m*c), in("dy", m*o.K), group("dw", o.K*c)}
	case LinearBiasGrad:
		return []Arg{in("dy", m*o.K), group("db", o.K)}
	case LinearSquares:
		return []Arg{in("x", before*c), in("dy", m*o.K), flat("q", Real, InOut, m)}
	case QuadraticForward, KDForward:
		return []Arg{in("f", m*o.K), in("y", m*o.K), group("loss", 1)}
	case QuadraticGrad, KDGrad:
		return []Arg{in("f", m*o.K), in("y", m*o.K), out("df", m*o.K)}
	case CEForward:
		return []Arg{in("f", m*o.K), flat("labels", Int, In, m), group("loss", 1)}
	case CEGrad:
		return []Arg{in("f", m*o.K), flat("labels", Int, In, m), out("df", m*o.K)}
	case Correct:
		return []Arg{in("f", m*o.K), flat("labels", Int, In, m), group("correct", 1)}
	case Gather:
		return []Arg{in("x", c), flat("index", Int, In, o.K), flat("y", numbers, Out, o.K)}
	case OneHot:
		return []Arg{out("df", m*o.K)}
	case Zero:
		return []Arg{narrow("y", Out, m)}
	case SGD:
		return []Arg{flat("theta", Real, InOut, m*c*plane), flat("v", Real, InOut, m*c*plane), in("g", m*c*plane), in("lr", 1)}
	case RunningAverage:
		return []Arg{flat("r", Real, InOut, m*c*plane), in("s", m*c*plane)}
	case GaussianNoise, SymmetricNoise:
		return []Arg{in("y", m*o.K), flat("samples", Int, In, m), flat("step", Int, In, 1), out("noisy", m*o.K)}
	}
	panic(fmt.Sprintf("kernel: no arguments known for %v", o.Kind))
}

// fused makes the arguments of a convolution with what is fused to it.
type fused struct {
	Op
	in    func(name string, n int) Arg
	parts func(name string, access Access, part, stride int) Arg
}

// like is an activation of a's shape with as many images, of all groups, as said.
func (f fused) like(a Arg, name string, access Access, images int) Arg {
	a.Name, a.Access = name, access
	a.Part = images * f.Padded(a.Channels) * a.Pixels
	a.Stride = a.Part
	return a
}

// input is the arguments that stand for the forward activation x: statistics per group have the stride.
func (f fused) input(kind Fusion, x Arg, stride int) []Arg {
	c := f.C
	args := []Arg{x}
	if kind == NormReLU || kind == NormAddReLU {
		args = append(args, f.parts("mean", In, c, stride), f.parts("variance", In, c, stride), f.in("gamma", c), f.in("beta", c))
	}
	if kind == NormAddReLU {
		args = append(args, f.like(x, "r", In, f.Groups*f.N))
	}
	return args
}

// gradient is the arguments that stand for dy, the gradient of a convolution's output.
func (f fused) gradient(dy Arg) []Arg {
	k := f.K
	switch args := []Arg{dy}; f.Before {
	case NormGrad:
		return append(args, f.like(dy, "xn", In, f.Groups*f.N), f.parts("mean", In, k, 0), f.parts("variance", In, k, 0), f.in("gamma", k),
			f.parts("dgamma", In, k, f.BeforeStride), f.parts("dbeta", In, k, f.BeforeStride))
	case NormEvalGrad:
		return append(args, f.in("variance", k), f.in("gamma", k))
	default:
		return args
	}
}

// after puts the output behind args, with what After takes and makes; images are those of the forward pass, of all groups.
func (f fused) after(args []Arg, output Arg, images int) []Arg {
	c := output.Channels
	statistics := func(stride int) []Arg {
		return []Arg{f.like(output, "xn", In, images), f.parts("mean", In, c, stride), f.parts("variance", In, c, stride)}
	}
	sum := func() []Arg {
		return []Arg{f.like(output, "r", In, f.Groups*f.N), f.like(output, "z", In, images)}
	}
	results := []Arg{output}
	if f.Before == NormAddReLU {
		results = []Arg{f.like(args[0], "z", Out, f.Groups*f.N), output}
	}
	switch f.After {
	case Stats:
		args = append(args, f.in("shift", c))
		results = append(results, f.parts("mean", Out, c, 0), f.parts("variance", Out, c, 0), f.parts("record", Out, 2*c, f.RecordStride))
	case Sums:
		args = append(args, f.in("shift", c))
		results = append(results, f.parts("sums", Out, 2*c, 0))
	case ReLUNormSums:
		args = append(append(args, statistics(0)...), f.in("gamma", c), f.in("beta", c))
	case AddReLUNormSums:
		args = append(append(args, sum()...), statistics(0)...)
	case ReLUNormSquares:
		args = append(append(args, statistics(-1)...), f.in("gamma", c), f.in("beta", c))
	case AddReLUNormSquares:
		args = append(append(args, sum()...), statistics(-1)...)
	}
	switch f.After {
	case ReLUNormSums, AddReLUNormSums:
		results = append(results, f.parts("dgamma", Out, c, f.AfterStride), f.parts("dbeta", Out, c, f.AfterStride))
	case ReLUNormSquares, AddReLUNormSquares:
		m := f.Groups * f.N
		results = append(results, Arg{Name: "q", Type: Real, Access: InOut, Part: m, Parts: 1, Stride: m})
	}
	return append(args, results...)
}
