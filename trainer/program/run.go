package program

import (
	"cmp"
	"errors"

	"github.com/dither-ml/dither/trainer/kernel"
)

// launch is a step made ready.
type launch struct {
	kernel    kernel.Kernel
	args      []kernel.Memory
	kind      StepKind
	reduction *Reduction
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
