package kernel

import "fmt"

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
}

// Len is the elements from the first to the last.
func (a Arg) Len() int { return (a.Parts-1)*a.Stride + a.Part }

// Args are the arguments of a checked op (see Check) in Launch's order, without the workspace.
func (o Op) Args() []Arg {
	m := o.Groups * o.N
	flat := func(name string, t Type, access Access, n int) Arg { return Arg{name, t, access, n, 1, n} }
	in := func(name string, n int) Arg { return flat(name, Real, In, n) }
	out := func(name string, n int) Arg { return flat(name, Real, Out, n) }
	parts := func(name string, access Access, part, stride int) Arg {
		switch stride {
		case -1:
			return flat(name, Real, access, part)
		case 0:
			stride = part
		}
		return Arg{name, Real, access, part, o.Groups, stride}
	}
	group := func(name string, part int) Arg { return parts(name, Out, part, o.GroupStride) }

	c, image := o.C, o.Padded(o.C)*o.H*o.W
	before := m / o.Repeats() // images of the forward pass
	wide := func() int { return m * o.Padded(o.K) * o.OutH() * o.OutW() }
	weights := o.K * o.C * o.R * o.R
	f := fused{o, in, out, parts}
	switch o.Kind {
	case View:
		return []Arg{flat("pixels", Byte, In, m*c*o.H*o.W), flat("geometry", Int, In, 3*m), in("mean", c), in("std", c), out("x", m*image)}
	case ConvForward:
		args := append(f.input(o.Before, "x", m*image, o.BeforeStride), in("w", weights))
		return f.after(args, out("y", wide()), o.K, wide())
	case ConvDataGrad:
		args := append(f.gradient("dy", wide()), in("w", weights))
		return f.after(args, out("dx", m*image), c, before*image)
	case ConvWeightGrad:
		return append(append(f.input(o.Input, "x", m*image, 0), f.gradient("dy", wide())...), group("dw", weights))
	case ConvSquares:
		return append(append(f.input(o.Input, "x", before*image, -1), f.gradient("dy", wide())...), flat("q", Real, InOut, m))
	case NormStats:
		return []Arg{in("x", m*image), in("shift", c), parts("mean", Out, c, 0), parts("variance", Out, c, 0), parts("record", Out, 2*c, o.RecordStride)}
	case NormSums:
		return []Arg{in("x", m*image), in("shift", c), group("sums", 2*c)}
	case NormFinish:
		return []Arg{in("sums", 2*c), in("shift", c), parts("mean", Out, c, 0), parts("variance", Out, c, 0), parts("record", Out, 2*c, o.RecordStride)}
	case NormForward:
		return []Arg{in("x", m*image), parts("mean", In, c, o.GroupStride), parts("variance", In, c, o.GroupStride), in("gamma", c), in("beta", c), out("y", m*image)}
	case NormGradSums:
		return []Arg{in("dy", m*image), in("x", m*image), parts("mean", In, c, 0), parts("variance", In, c, 0), group("dgamma", c), group("dbeta", c)}
	case NormDataGrad:
		return []Arg{in("dy", m*image), in("x", m*image), parts("mean", In, c, 0), parts("variance", In, c, 0), in("gamma", c),
			parts("dgamma", In, c, o.GroupStride), parts("dbeta", In, c, o.GroupStride), out("dx", m*image)}
	case NormEvalDataGrad:
		return []Arg{in("dy", m*image), in("variance", c), in("gamma", c), out("dx", m*image)}
	case NormSquares:
		return []Arg{in("dy", m*image), in("x", before*image), in("mean", c), in("variance", c), flat("q", Real, InOut, m)}
	case ReLU:
		return []Arg{in("x", m*image), out("y", m*image)}
	case ReLUGrad:
		return []Arg{in("dy", m*image), in("y", before*image), out("dx", m*image)}
	case Add:
		return []Arg{in("a", m*image), in("b", m*image), out("y", m*image)}
	case ShortcutForward:
		return []Arg{in("x", m*image), out("y", wide())}
	case ShortcutGrad:
		return []Arg{in("dy", wide()), out("dx", m*image)}
	case PoolForward:
		return []Arg{in("x", m*image), out("y", m*c)}
	case PoolGrad:
		return []Arg{in("dy", m*c), out("dx", m*image)}
	case Flatten:
		return []Arg{in("x", m*image), out("y", m*c*o.H*o.W)}
	case Unflatten:
		return []Arg{in("dy", m*c*o.H*o.W), out("dx", m*image)}
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
	case OneHot:
		return []Arg{out("df", m*o.K)}
	case Zero:
		return []Arg{out("y", m*image)}
	case SGD:
		return []Arg{flat("theta", Real, InOut, m*image), flat("v", Real, InOut, m*image), in("g", m*image), in("lr", 1)}
	case RunningAverage:
		return []Arg{flat("r", Real, InOut, m*image), in("s", m*image)}
	}
	panic(fmt.Sprintf("kernel: no arguments known for %v", o.Kind))
}

// fused makes the arguments of a convolution with what is fused to it.
type fused struct {
	Op
	in, out func(name string, n int) Arg
	parts   func(name string, access Access, part, stride int) Arg
}

// input is the arguments that stand for a forward activation of n elements: statistics per group have the stride.
func (f fused) input(kind Fusion, name string, n, stride int) []Arg {
	c := f.C
	args := []Arg{f.in(name, n)}
	if kind == NormReLU || kind == NormAddReLU {
		args = append(args, f.parts("mean", In, c, stride), f.parts("variance", In, c, stride), f.in("gamma", c), f.in("beta", c))
	}
	if kind == NormAddReLU {
		args = append(args, f.in("r", n))
	}
	return args
}

// gradient is the arguments that stand for the gradient of a convolution's output, of n elements.
func (f fused) gradient(name string, n int) []Arg {
	k := f.K
	switch args := []Arg{f.in(name, n)}; f.Before {
	case NormGrad:
		return append(args, f.in("xn", n), f.parts("mean", In, k, 0), f.parts("variance", In, k, 0), f.in("gamma", k),
			f.parts("dgamma", In, k, f.BeforeStride), f.parts("dbeta", In, k, f.BeforeStride))
	case NormEvalGrad:
		return append(args, f.in("variance", k), f.in("gamma", k))
	default:
		return args
	}
}

// after puts the output, of c channels, behind args, with what After takes and makes; n is the elements of a forward activation of the output's shape.
func (f fused) after(args []Arg, output Arg, c, n int) []Arg {
	statistics := func(stride int) []Arg {
		return []Arg{f.in("xn", n), f.parts("mean", In, c, stride), f.parts("variance", In, c, stride)}
	}
	results := []Arg{output}
	if f.Before == NormAddReLU {
		results = []Arg{f.out("z", args[0].Len()), output}
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
		args = append(append(args, f.in("r", output.Len()), f.in("z", n)), statistics(0)...)
	case ReLUNormSquares:
		args = append(append(args, statistics(-1)...), f.in("gamma", c), f.in("beta", c))
	case AddReLUNormSquares:
		args = append(append(args, f.in("r", output.Len()), f.in("z", n)), statistics(-1)...)
	}
	switch f.After {
	case ReLUNormSums, AddReLUNormSums:
		results = append(results, f.parts("dgamma", Out, c, f.AfterStride), f.parts("dbeta", Out, c, f.AfterStride))
	case ReLUNormSquares, AddReLUNormSquares:
		results = append(results, Arg{"q", Real, InOut, f.Groups * f.N, 1, f.Groups * f.N})
	}
	return append(args, results...)
}
