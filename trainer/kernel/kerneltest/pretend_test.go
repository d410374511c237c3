package kerneltest

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// pretender is the reference that says it lies in blocks of 4 channels and fuses: it puts what it gets into plain memory, launches the kinds one after the other, and puts
// what they leave into blocks again. spoil, if there is one, spoils that.
type pretender struct {
	kernel.Set
	t     *testing.T
	spoil spoiler
}

func (pretender) Traits() kernel.Traits { return kernel.Traits{Block: 4, Fuses: true} }

func (p pretender) Prepare(op kernel.Op) (kernel.Kernel, error) {
	if err := op.CheckFor(p.Traits()); err != nil {
		return nil, err
	}
	return &pretended{p, op}, nil
}

type pretended struct {
	pretender
	op kernel.Op
}

func (*pretended) Workspace() int { return 0 }

func (p *pretended) Launch(s kernel.Stream, memory []kernel.Memory) {
	args, block := p.op.Args(), max(p.op.Block, 1)
	plain := p.op
	plain.Block = 0
	in := make([]data, len(args))
	for i, a := range args {
		switch a.Type {
		case kernel.Real:
			in[i].real = make([]float64, a.Len())
			s.Read(in[i].real, memory[i])
			if a.Channels > 0 {
				in[i].real, _ = unblocked(a, block, in[i].real)
			}
		case kernel.Byte:
			in[i].bytes = make([]uint8, a.Len())
			s.Read(in[i].bytes, memory[i])
		case kernel.Int:
			in[i].ints = make([]int32, a.Len())
			s.Read(in[i].ints, memory[i])
		}
	}
	var out []data
	if plain.Input == kernel.Alone && plain.Before == kernel.Alone && plain.After == kernel.Alone && plain.Beside == kernel.Alone {
		out = newLauncher(p.t, p.Set, plain).once(in, nil)
	} else {
		out = unfused(p.t, p.Set, plain, in)
	}
	for i, a := range args {
		if a.Channels > 0 {
			out[i].real = blocked(a, block, out[i].real)
		}
	}
	if p.spoil != nil {
		p.spoil(p.op, args, out)
	}
	for i, a := range args {
		if a.Access != kernel.In {
			s.Write(memory[i], out[i].real)
		}
	}
}
