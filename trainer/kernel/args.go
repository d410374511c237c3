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

	c, image := o.C, o.C*o.H*o.W
	wide := func() int { return m * o.K * o.OutH() * o.OutW() }
	weights := o.K * o.C * o.R * o.R
	switch o.Kind {
	case View:
		return []Arg{flat("pixels", Byte, In, m*image), flat("geometry", Int, In, 3*m), in("mean", c), in("std", c), out("x", m*image)}
	case ConvForward:
		return []Arg{in("x", m*image), in("w", weights), out("y", wide())}
	case ConvDataGrad:
		return []Arg{in("dy", wide()), in("w", weights), out("dx", m*image)}
	case ConvWeightGrad:
		return []Arg{in("x", m*image), in("dy", wide()), group("dw", weights)}
	case ConvSquares:
		return []Arg{in("x", m*image), in("dy", wide()), flat("q", Real, InOut, m)}
	case NormStats:
		return []Arg{in("x", m*image), group("mean", c), group("variance", c), parts("record", Out, 2*c, o.RecordStride)}
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
		return []Arg{in("dy", m*image), in("x", m*image), in("mean", c), in("variance", c), flat("q", Real, InOut, m)}
	case ReLU:
		return []Arg{in("x", m*image), out("y", m*image)}
	case ReLUGrad:
		return []Arg{in("dy", m*image), in("y", m*image), out("dx", m*image)}
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
	case LinearForward:
		return []Arg{in("x", m*c), in("w", o.K*c), in("b", o.K), out("y", m*o.K)}
	case LinearDataGrad:
		return []Arg{in("dy", m*o.K), in("w", o.K*c), out("dx", m*c)}
	case LinearWeightGrad:
		return []Arg{in("x", m*c), in("dy", m*o.K), group("dw", o.K*c)}
	case LinearBiasGrad:
		return []Arg{in("dy", m*o.K), group("db", o.K)}
	case LinearSquares:
		return []Arg{in("x", m*c), in("dy", m*o.K), flat("q", Real, InOut, m)}
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
