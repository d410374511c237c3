package kerneltest

import (
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

// PretendHalf gives a set of half precision for the tests of what runs on one: the reference, in blocks of 4 channels and with every fusion. If it rounds, activations and packed weights are
// bfloat16 and all else is float32, as on a GPU; else all is float64, so that whatever a program makes of packing and blocks beside the rounding is held to the reference alone. It is slow.
func PretendHalf(t *testing.T, rounds bool) kernel.Set {
	return pretender{Set: ref.New(), t: t, half: true, exact: !rounds}
}

// pretender is the reference that says it lies in blocks of 4 channels and fuses, and may be of half precision: it puts what it gets into plain memory, launches the kinds one after the other, and puts
// what they leave into blocks again. spoil, if there is one, spoils that.
type pretender struct {
	kernel.Set
	t     *testing.T
	spoil spoiler
	half  bool
	exact bool // of half precision, but nothing is rounded
}

func (p pretender) Arithmetic() string {
	if p.half {
		return "ref-bf16/1"
	}
	return p.Set.Arithmetic()
}

func (p pretender) Traits() kernel.Traits { return kernel.Traits{Block: 4, Fuses: true, Half: p.half} }

// spoiler spoils the outputs of a launch, in blocks.
type spoiler func(op kernel.Op, args []kernel.Arg, out []data)

// halves is the reference's memory that rounds what is written into it, unless it is exact.
type halves struct {
	kernel.Memory
	exact bool
}

func (halves) Type() kernel.Type                  { return kernel.Half }
func (h halves) Slice(from, to int) kernel.Memory { return halves{h.Memory.Slice(from, to), h.exact} }

func (p pretender) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	if t != kernel.Half || !p.half {
		return p.Set.Alloc(t, n)
	}
	m, err := p.Set.Alloc(kernel.Real, n)
	return halves{m, p.exact}, err
}

func (p pretender) NewStream() kernel.Stream { return roundingStream{p.Set.NewStream()} }

// roundingStream is the reference's stream, for memory of either precision.
type roundingStream struct{ kernel.Stream }

func (s roundingStream) Write(dst kernel.Memory, src any) {
	h, half := dst.(halves)
	if half {
		dst = h.Memory
	}
	if !half || h.exact {
		s.Stream.Write(dst, src)
		return
	}
	numbers := make([]float64, h.Len())
	switch v := src.(type) {
	case []float32:
		for i := range numbers {
			numbers[i] = bfloat16(float64(v[i]))
		}
	case []float64:
		for i := range numbers {
			numbers[i] = bfloat16(v[i])
		}
	}
	s.Stream.Write(dst, numbers)
}

func (s roundingStream) Read(dst any, src kernel.Memory) {
	if h, half := src.(halves); half {
		src = h.Memory
	}
	s.Stream.Read(dst, src)
}

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
	memory = slices.Clone(memory)
	plain := p.op
	plain.Block, plain.Half = 0, false
	in := make([]data, len(args))
	for i, a := range args {
		memory[i] = memory[i].Slice(0, a.Len())
		switch a.Type {
		case kernel.Real, kernel.Half:
			in[i].real = make([]float64, a.Len())
			s.Read(in[i].real, memory[i])
			for j := range in[i].real {
				if j%a.Stride >= a.Part { // not ours
					in[i].real[j] = canary
				}
			}
			if a.Channels > 0 {
				in[i].real, _ = unblocked(a, block, in[i].real)
			}
			if p.op.Half && a.Name == "w" {
				in[i].real = unpacked(p.op, in[i].real)
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
		out = unfused(p.t, pretender{p.Set, p.t, nil, p.half, p.exact}, plain, in)
	}
	for i, a := range args {
		if a.Channels > 0 {
			out[i].real = blocked(a, block, out[i].real)
		}
	}
	if p.half && !p.exact {
		for i, a := range args {
			for j, v := range out[i].real {
				if a.Type == kernel.Real {
					out[i].real[j] = float64(float32(v))
				}
			}
		}
	}
	if p.spoil != nil {
		p.spoil(p.op, args, out)
	}
	for i, a := range args {
		switch {
		case a.Access == kernel.In:
		case p.spoil != nil: // between the groups' parts too
			s.Write(memory[i], out[i].real)
		default:
			for from := 0; from < a.Len(); from += a.Stride {
				s.Write(memory[i].Slice(from, from+a.Part), out[i].real[from:from+a.Part])
			}
		}
	}
}
