package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// state is the parameters of a program: trainable ones in one flat memory, running statistics in another.
type state struct {
	*layout
	machine *machine
	list    []model.Parameter
	theta   *Value
	running *Value // one element that nobody reads where a network has no BatchNorm
}

func newState(m *machine, ps []model.Parameter) *state {
	s := &state{layout: newLayout(ps), machine: m, list: ps}
	s.theta = m.keep("parameters", kernel.Real, s.parameters)
	s.running = m.keep("running statistics", kernel.Real, max(s.layout.running, 1))
	return s
}

// Parameters are the network's, in the order of its layers.
func (s *state) Parameters() []model.Parameter { return s.list }

// memory is where a parameter lies in a flat value of the trainable ones, or its running statistics.
func (s *state) memory(flat *Value, name string, n int) (kernel.Memory, error) {
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
	return flat.Memory.Slice(p.offset, p.offset+n), nil
}

// Load sets a parameter or running statistic.
func (s *state) Load(name string, v []float32) error { return s.write(s.theta, name, v) }

// Read gets a parameter or running statistic.
func (s *state) Read(name string, v []float32) error { return s.read(s.theta, name, v, len(v)) }

func (s *state) write(flat *Value, name string, v []float32) error {
	m, err := s.memory(flat, name, len(v))
	if err != nil {
		return err
	}
	s.machine.stream.Write(m, v)
	return s.machine.stream.Sync()
}

func (s *state) read(flat *Value, name string, v any, n int) error {
	m, err := s.memory(flat, name, n)
	if err != nil {
		return err
	}
	s.machine.stream.Read(v, m)
	return s.machine.stream.Sync()
}

// value is a parameter as an argument of steps.
func (s *state) value(name string) *Value {
	p, flat := s.places[name], s.theta
	if !p.parameter.Trainable {
		flat = s.running
	}
	return flat.piece(name, p.offset, p.parameter.Len())
}
