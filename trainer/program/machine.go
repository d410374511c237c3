package program

import (
	"errors"
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// machine is a kernel set with a stream, and the memory of a program on it.
type machine struct {
	set       kernel.Set
	stream    kernel.Stream
	side      kernel.Stream // for copies that go beside it; the stream itself where nothing works apart
	apart     bool          // from the host: Traits
	passes    []pass        // over the steps, before they are planned
	kernels   map[kernel.Op]kernel.Kernel
	kept      []*Value       // with memory of their own
	constants map[*Value]any // what kept values hold from the start
	workspace kernel.Memory
	bytes     int64
}

func newMachine(set kernel.Set) *machine {
	m := &machine{set: set, stream: set.NewStream(), apart: set.Traits().Apart, kernels: map[kernel.Op]kernel.Kernel{}, constants: map[*Value]any{}}
	m.side = m.stream
	if m.apart {
		m.side = set.NewStream()
	}
	if set.Traits().Fuses {
		m.passes = passes
	}
	return m
}

// keep is a value with memory of its own for all of the program's life, from build on.
func (m *machine) keep(name string, t kernel.Type, n int) *Value {
	v := &Value{Name: name, Len: n, kept: true, kind: t}
	m.kept = append(m.kept, v)
	return v
}

// constant is a kept value that nobody changes.
func (m *machine) constant(name string, v []float64) *Value {
	c := m.keep(name, kernel.Real, len(v))
	m.constants[c] = v
	return c
}

// table is one of indices.
func (m *machine) table(name string, v []int32) *Value {
	c := m.keep(name, kernel.Int, len(v))
	m.constants[c] = v
	return c
}

// build plans the memory of steps, and of others that go by what these leave behind, allocates it and makes all ready. The sum is known before anything is
// allocated, so that a program which does not fit fails here and says what it needs.
func (m *machine) build(lists ...[]*Step) ([][]launch, error) {
	at := 0
	for _, v := range m.kept {
		if v.kind == kernel.Real {
			v.offset, at = at, at+aligned(v.Len)
		}
	}
	arenas := plan(lists[0])
	arena := arenas[kernel.Real]
	scratch := 0
	for _, steps := range lists {
		n, err := m.prepare(steps)
		if err != nil {
			return nil, err
		}
		scratch = max(scratch, n)
	}
	halves := arenas[kernel.Half]
	short := func(err error) error {
		return fmt.Errorf("the program needs %d MiB: %w", (int64(at+arena+scratch)*4+int64(halves)*2)>>20, err)
	}
	all, err := m.alloc(kernel.Real, at+arena+scratch)
	if err != nil {
		return nil, short(err)
	}
	planned := map[kernel.Type]kernel.Memory{kernel.Real: all.Slice(at, at+arena)}
	if halves > 0 {
		if planned[kernel.Half], err = m.alloc(kernel.Half, halves); err != nil {
			return nil, short(err)
		}
	}
	for _, v := range m.kept {
		if v.kind == kernel.Real {
			v.Memory = all.Slice(v.offset, v.offset+v.Len)
		} else if v.Memory, err = m.alloc(v.kind, v.Len); err != nil {
			return nil, err
		}
	}
	m.workspace = all.Slice(at+arena, at+arena+scratch)
	var out [][]launch
	for _, steps := range lists {
		for _, s := range steps {
			for _, v := range s.values() {
				v.bind(planned)
			}
		}
		launches, err := m.ready(steps)
		if err != nil {
			return nil, err
		}
		out = append(out, launches)
	}
	for v, numbers := range m.constants {
		m.stream.Write(v.Memory, numbers)
	}
	return out, m.stream.Sync()
}

func (m *machine) alloc(t kernel.Type, n int) (kernel.Memory, error) {
	mem, err := m.set.Alloc(t, n)
	if short, is := errors.AsType[*kernel.NoMemory](err); is {
		short.Free += m.bytes // what is given back with this program
	}
	if err != nil {
		return nil, err
	}
	m.bytes += int64(t.Size()) * int64(n)
	return mem, nil
}

// prepare makes the kernels of steps, and says how much workspace the greediest takes.
func (m *machine) prepare(steps []*Step) (scratch int, err error) {
	for _, s := range steps {
		if s.Kind != Compute {
			continue
		}
		k, there := m.kernels[s.Op]
		if !there {
			if k, err = m.set.Prepare(s.Op); err != nil {
				return 0, err
			}
			m.kernels[s.Op] = k
		}
		scratch = max(scratch, k.Workspace())
	}
	return scratch, nil
}

// ready gives the launches of steps whose values have memory; the workspace, of which each kernel takes the front, is shared.
func (m *machine) ready(steps []*Step) ([]launch, error) {
	scratch, err := m.prepare(steps)
	if err != nil {
		return nil, err
	}
	if m.workspace.Len() < scratch {
		if m.workspace, err = m.alloc(kernel.Real, scratch); err != nil {
			return nil, err
		}
	}
	out := make([]launch, len(steps))
	for i, s := range steps {
		out[i] = launch{kind: s.Kind, reduction: s.Reduction}
		if s.Kind != Compute {
			continue
		}
		l := &out[i]
		l.kernel = m.kernels[s.Op]
		for _, v := range s.Args {
			l.args = append(l.args, v.Memory)
		}
		if n := l.kernel.Workspace(); n > 0 {
			l.args = append(l.args, m.workspace.Slice(0, n))
		}
	}
	return out, nil
}
