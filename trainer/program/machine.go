package program

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// machine is a kernel set with a stream, and what programs allocate on it.
type machine struct {
	set       kernel.Set
	stream    kernel.Stream
	passes    []pass // over the steps, before they are planned
	kernels   map[kernel.Op]kernel.Kernel
	workspace kernel.Memory
	bytes     int64
}

func newMachine(set kernel.Set) *machine {
	m := &machine{set: set, stream: set.NewStream(), kernels: map[kernel.Op]kernel.Kernel{}}
	if set.Traits().Fuses {
		m.passes = passes
	}
	return m
}

func (m *machine) alloc(t kernel.Type, n int) (kernel.Memory, error) {
	mem, err := m.set.Alloc(t, n)
	if err != nil {
		return nil, fmt.Errorf("memory of the program: %w", err)
	}
	size := int64(4)
	if t == kernel.Byte {
		size = 1
	}
	m.bytes += size * int64(n)
	return mem, nil
}

// given is a value with memory of its own.
func (m *machine) given(name string, t kernel.Type, n int) (*Value, error) {
	mem, err := m.alloc(t, n)
	return &Value{Name: name, Len: n, Memory: mem}, err
}

// launch is a step made ready.
type launch struct {
	kernel    kernel.Kernel
	args      []kernel.Memory
	kind      StepKind
	reduction *Reduction
}

func (m *machine) prepare(op kernel.Op) (kernel.Kernel, error) {
	if k, there := m.kernels[op]; there {
		return k, nil
	}
	k, err := m.set.Prepare(op)
	if err != nil {
		return nil, err
	}
	m.kernels[op] = k
	return k, nil
}

// bind plans the arena of the steps and makes them ready; the workspace, of which each kernel takes the front, is shared.
func (m *machine) bind(steps []*Step) ([]launch, error) {
	arena, err := m.alloc(kernel.Real, plan(steps))
	if err != nil {
		return nil, err
	}
	for _, s := range steps {
		for _, v := range s.values() {
			v.bind(arena)
		}
	}
	return m.ready(steps)
}

// ready prepares the kernels of steps whose values have memory.
func (m *machine) ready(steps []*Step) ([]launch, error) {
	need := 0
	out := make([]launch, len(steps))
	for i, s := range steps {
		out[i] = launch{kind: s.Kind, reduction: s.Reduction}
		if s.Kind != Compute {
			continue
		}
		k, err := m.prepare(s.Op)
		if err != nil {
			return nil, err
		}
		out[i].kernel = k
		need = max(need, k.Workspace())
		for _, v := range s.Args {
			out[i].args = append(out[i].args, v.Memory)
		}
	}
	if m.workspace == nil || m.workspace.Len() < need {
		var err error
		if m.workspace, err = m.alloc(kernel.Real, need); err != nil {
			return nil, err
		}
	}
	for i := range out {
		if k := out[i].kernel; k != nil && k.Workspace() > 0 {
			out[i].args = append(out[i].args, m.workspace.Slice(0, k.Workspace()))
		}
	}
	return out, nil
}

// attach settles how the host sees a reduction's shards and sum: the memory itself, or copies.
func (m *machine) attach(r *Reduction, groups int) error {
	if err := m.stream.Sync(); err != nil {
		return err
	}
	r.sum = m.stream.Host(r.Out.Memory)
	if r.sum == nil {
		r.total = newPort[float32](r.Out.Memory)
		r.sum = r.total.host
	}
	for g := range groups {
		at := g*r.split + r.From
		part := r.In.Memory.Slice(at, at+r.Len)
		if r.total == nil {
			r.shards = append(r.shards, m.stream.Host(part))
			continue
		}
		p := newPort[float32](part)
		r.parts, r.shards = append(r.parts, p), append(r.shards, p.host)
	}
	return nil
}

var errNoCollective = errors.New("a program that shares its batch with other trainers needs a collective")

// run executes launches in order. After an error it launches nothing more, but waits for the collectives that it started, so that the shards'
// memory is the program's again.
func (m *machine) run(launches []launch, c Collective) (err error) {
	for i := range launches {
		l := &launches[i]
		switch l.kind {
		case Compute:
			if err == nil {
				l.kernel.Launch(m.stream, l.args)
			}
		case Start:
			if err == nil {
				err = m.start(l.reduction, c)
			}
		case Wait:
			if l.reduction.flying {
				err = cmp.Or(err, m.wait(l.reduction, c))
			}
		}
	}
	return err
}

func (m *machine) start(r *Reduction, c Collective) error {
	if c == nil {
		return errNoCollective
	}
	for _, p := range r.parts {
		p.fetch(m.stream)
	}
	if err := m.stream.Sync(); err != nil {
		return err
	}
	r.flying = true
	c.Start(r.ID, r.shards)
	return nil
}

func (m *machine) wait(r *Reduction, c Collective) error {
	err := c.Wait(r.ID, r.sum)
	r.flying = false
	if err == nil && r.total != nil {
		r.total.send(m.stream)
	}
	return err
}

// state is the parameters of a program: trainable ones in one flat memory, running statistics in another.
type state struct {
	*layout
	machine *machine
	list    []model.Parameter
	theta   kernel.Memory
	running kernel.Memory
}

func newState(m *machine, ps []model.Parameter) (*state, error) {
	s := &state{layout: newLayout(ps), machine: m, list: ps}
	var err error
	if s.theta, err = m.alloc(kernel.Real, s.parameters); err != nil {
		return nil, err
	}
	s.running, err = m.alloc(kernel.Real, max(s.layout.running, 1)) // a network without BatchNorm has none
	return s, err
}

// Parameters are the network's, in the order of its layers.
func (s *state) Parameters() []model.Parameter { return s.list }

// memory is where a parameter lies in a flat memory of the trainable ones, or its running statistics.
func (s *state) memory(flat kernel.Memory, name string, n int) (kernel.Memory, error) {
	p, there := s.places[name]
	if !there {
		return nil, fmt.Errorf("the network has no parameter %s", name)
	}
	if !p.parameter.Trainable {
		if flat != s.theta {
			return nil, fmt.Errorf("%s is a running statistic: it has no momentum", name)
		}
		flat = s.running
	}
	if n != p.parameter.Len() {
		return nil, fmt.Errorf("parameter %s has %d elements, not %d", name, p.parameter.Len(), n)
	}
	return flat.Slice(p.offset, p.offset+n), nil
}

// Load sets a parameter or running statistic.
func (s *state) Load(name string, v []float32) error { return s.write(s.theta, name, v) }

// Read gets a parameter or running statistic.
func (s *state) Read(name string, v []float32) error { return s.read(s.theta, name, v, len(v)) }

func (s *state) write(flat kernel.Memory, name string, v []float32) error {
	m, err := s.memory(flat, name, len(v))
	if err != nil {
		return err
	}
	s.machine.stream.Write(m, v)
	return s.machine.stream.Sync()
}

func (s *state) read(flat kernel.Memory, name string, v any, n int) error {
	m, err := s.memory(flat, name, n)
	if err != nil {
		return err
	}
	s.machine.stream.Read(v, m)
	return s.machine.stream.Sync()
}

// value is a parameter as an argument of steps.
func (s *state) value(name string) *Value {
	p := s.places[name]
	m, err := s.memory(s.theta, name, p.parameter.Len())
	if err != nil {
		panic("program: " + err.Error())
	}
	return &Value{Name: name, Len: p.parameter.Len(), Memory: m}
}
