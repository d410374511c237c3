package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// fusing is a kernel set that takes fused ops and does them kind by kind, as the contract says what they are.
type fusing struct{ kernel.Set }

func (f fusing) Traits() kernel.Traits {
	t := f.Set.Traits()
	t.Fuses = true
	return t
}

// apart does several kernels over arguments and scratch; an argument is its place, scratch counts down from -1.
type apart struct {
	op      kernel.Op
	kernels []kernel.Kernel
	args    [][]int
	scratch []kernel.Memory
}

func (a *apart) Workspace() int { return 0 }

func (a *apart) Launch(s kernel.Stream, args []kernel.Memory) {
	for i, k := range a.kernels {
		var own []kernel.Memory
		for _, at := range a.args[i] {
			if at < 0 {
				own = append(own, a.scratch[-at-1])
			} else {
				own = append(own, args[at])
			}
		}
		k.Launch(s, own)
	}
}

// Prepare implements kernel.Set.
func (f fusing) Prepare(op kernel.Op) (kernel.Kernel, error) {
	if op.Input == kernel.Alone && op.Before == kernel.Alone && op.After == kernel.Alone {
		return f.Set.Prepare(op)
	}
	if err := op.Check(); err != nil {
		return nil, err
	}
	p := &parts{set: f.Set, op: op, apart: &apart{op: op}}
	p.lay()
	return p.apart, p.err
}

// parts takes a fused op's arguments one after the other.
type parts struct {
	set   kernel.Set
	op    kernel.Op
	apart *apart
	taken int
	err   error
}

// take is the places of the next n arguments.
func (p *parts) take(n int) (at []int) {
	for range n {
		at = append(at, p.taken)
		p.taken++
	}
	return at
}

// space is scratch of n elements.
func (p *parts) space(n int) int {
	m, err := p.set.Alloc(kernel.Real, n)
	if err != nil {
		p.err = err
	}
	p.apart.scratch = append(p.apart.scratch, m)
	return -len(p.apart.scratch)
}

func (p *parts) add(op kernel.Op, args ...int) {
	k, err := p.set.Prepare(op)
	switch {
	case err != nil:
		p.err = err
	case k.Workspace() > 0:
		args = append(args, p.space(k.Workspace()))
		fallthrough
	default:
		p.apart.kernels, p.apart.args = append(p.apart.kernels, k), append(p.apart.args, args)
	}
}

// activation is an op over activations of the convolution's input, or with wide of its output.
func (p *parts) activation(kind kernel.Kind, wide bool) kernel.Op {
	o := p.op
	a := kernel.Op{Kind: kind, Groups: o.Groups, N: o.N, C: o.C, H: o.H, W: o.W, Block: o.Block}
	if wide {
		a.C, a.H, a.W = o.K, o.OutH(), o.OutW()
	}
	return a
}

// input makes the forward activation that fusion stands for; z, where it is stored, is at a place.
func (p *parts) input(fusion kernel.Fusion, stride, repeat int, z int) int {
	x := p.take(1)[0]
	if fusion == kernel.Alone {
		return x
	}
	o := p.activation(kernel.NormForward, false)
	o.Epsilon, o.GroupStride, o.N = p.op.Epsilon, stride, o.N/repeat
	n := p.space(o.Len())
	p.add(o, append(append([]int{x}, p.take(4)...), n)...)
	o.Epsilon, o.GroupStride = 0, 0
	if fusion == kernel.NormAddReLU {
		o.Kind = kernel.Add
		p.add(o, n, p.take(1)[0], n)
	} else {
		z = n
	}
	o.Kind = kernel.ReLU
	p.add(o, n, z)
	return z
}

// gradient makes the gradient of the output that Before stands for.
func (p *parts) gradient() int {
	dy := p.take(1)[0]
	o := p.activation(0, true)
	o.Epsilon = p.op.Epsilon
	more := 2
	switch p.op.Before {
	case kernel.Alone:
		return dy
	case kernel.NormGrad:
		o.Kind, o.Count, o.GroupStride = kernel.NormDataGrad, p.op.Count, p.op.BeforeStride
		more = 6
	case kernel.NormEvalGrad:
		o.Kind = kernel.NormEvalDataGrad
	}
	d := p.space(o.Len())
	p.add(o, append(append([]int{dy}, p.take(more)...), d)...)
	return d
}

func (p *parts) lay() {
	o := p.op
	o.Input, o.Before, o.After, o.BeforeStride, o.AfterStride, o.Count, o.RecordStride, o.Epsilon, o.Repeat = 0, 0, 0, 0, 0, 0, 0, 0, 0
	switch p.op.Kind {
	case kernel.ConvForward:
		p.forward(o)
	case kernel.ConvDataGrad:
		p.dataGrad(o)
	case kernel.ConvWeightGrad:
		x := p.input(p.op.Input, 0, 1, 0)
		p.add(o, x, p.gradient(), p.take(1)[0])
	case kernel.ConvSquares:
		o.Repeat = p.op.Repeat
		x := p.input(p.op.Input, -1, o.Repeats(), 0)
		p.add(o, x, p.gradient(), p.take(1)[0])
	}
	if n := len(p.op.Args()); p.taken != n {
		p.err = fmt.Errorf("%v takes %d arguments, %d of them are used", p.op, n, p.taken)
	}
}

func (p *parts) forward(o kernel.Op) {
	z := map[kernel.Fusion]int{kernel.NormAddReLU: 7}[p.op.Before]
	if p.op.After != kernel.Alone {
		z++
	}
	x := p.input(p.op.Before, p.op.BeforeStride, 1, z)
	w := p.take(1)[0]
	var shift []int
	if p.op.After != kernel.Alone {
		shift = p.take(1)
	}
	if p.op.Before == kernel.NormAddReLU {
		p.take(1)
	}
	y := p.take(1)[0]
	p.add(o, x, w, y)
	s := p.activation(kernel.NormSums, true)
	switch p.op.After {
	case kernel.Stats:
		s.Kind, s.RecordStride = kernel.NormStats, p.op.RecordStride
		p.add(s, append([]int{y, shift[0]}, p.take(3)...)...)
	case kernel.Sums:
		p.add(s, append([]int{y, shift[0]}, p.take(1)...)...)
	}
}

func (p *parts) dataGrad(o kernel.Op) {
	dy := p.gradient()
	w := p.take(1)[0]
	if p.op.After == kernel.Alone {
		p.add(o, dy, w, p.take(1)[0])
		return
	}
	n := p.activation(kernel.NormForward, false)
	dx := p.space(n.Len())
	p.add(o, dy, w, dx)
	squares := p.op.After == kernel.ReLUNormSquares || p.op.After == kernel.AddReLUNormSquares
	var z int
	var norm []int // xn, mean, variance
	switch p.op.After {
	case kernel.ReLUNormSums, kernel.ReLUNormSquares:
		n.N, n.Epsilon = n.N/p.op.Repeats(), p.op.Epsilon
		if squares {
			n.GroupStride = -1
		}
		z = p.space(n.Len())
		all := p.take(5)
		norm = all[:3]
		p.add(n, append(all, z)...)
		n.Kind, n.Epsilon, n.GroupStride = kernel.ReLU, 0, 0
		p.add(n, z, z)
	default:
		r := p.take(1)[0]
		z = p.take(1)[0]
		norm = p.take(3)
		p.add(p.activation(kernel.Add, false), dx, r, dx)
	}
	g := p.take(1)[0]
	mask := p.activation(kernel.ReLUGrad, false)
	mask.Repeat = p.op.Repeat
	p.add(mask, dx, z, g)
	sums := p.activation(kernel.NormGradSums, false)
	sums.Epsilon = p.op.Epsilon
	if squares {
		sums.Kind, sums.Repeat = kernel.NormSquares, p.op.Repeat
		p.add(sums, append(append([]int{g}, norm...), p.take(1)...)...)
		return
	}
	sums.GroupStride = p.op.AfterStride
	p.add(sums, append(append([]int{g}, norm...), p.take(2)...)...)
}
