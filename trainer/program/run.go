package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// launch is a step made ready.
type launch struct {
	kernel    kernel.Kernel
	args      []kernel.Memory
	kind      StepKind
	reduction *Reduction
	tells     bool // behind it, what the host is told of the step is there
}

// act is something that the host does of a program: one of these.
type act struct {
	work   kernel.Recording // to be replayed: launches between which there is nothing for the host to do
	leaves *departure       // numbers that are ready
	starts *Reduction
	waits  *Reduction
}

// alike says whether two acts, of other groups, are of one kind and, where they have one, of one reduction.
func (a act) alike(b act) bool {
	return (a.work == nil) == (b.work == nil) && (a.leaves == nil) == (b.leaves == nil) && a.starts.same(b.starts) && a.waits.same(b.waits)
}

// departure is numbers on their way to the host, beside whatever is enqueued next.
type departure struct {
	copies kernel.Recording // on the side
	ready  kernel.Mark      // of the stream
	here   kernel.Mark      // of the side
}

func (m *machine) departure(what string, copies func()) *departure {
	return &departure{m.side.Record(what, copies), m.stream.NewMark(), m.stream.NewMark()}
}

func (m *machine) leave(d *departure) {
	d.ready.Set(m.stream)
	d.ready.Before(m.side)
	d.copies.Replay()
	d.here.Set(m.side)
}

// attach settles how the host sees a reduction's shards and sum: the memory itself, or copies.
func (m *machine) attach(r *Reduction, groups int) (err error) {
	if err := m.stream.Sync(); err != nil {
		return err
	}
	r.sum = m.stream.Host(r.Out.Memory)
	if r.sum == nil {
		if r.total, err = newPort[float32](m.stream, r.Out.Memory); err != nil {
			return err
		}
		r.sum = r.total.host
	}
	for g := range groups {
		at := g*r.split + r.From
		part := r.In.Memory.Slice(at, at+r.Len)
		if r.total == nil {
			r.shards = append(r.shards, m.stream.Host(part))
			continue
		}
		p, err := newPort[float32](m.stream, part)
		if err != nil {
			return err
		}
		r.parts, r.shards = append(r.parts, p), append(r.shards, p.host)
	}
	if r.total != nil {
		r.leaves = m.departure(fmt.Sprintf("the shards of collective %d", r.ID), func() {
			for _, p := range r.parts {
				p.fetch(m.side)
			}
		})
	}
	return nil
}

// record makes of launches, all of which compute, one piece of work.
func (m *machine) record(what string, launches []launch) kernel.Recording {
	return m.stream.Record(what, func() { m.launch(launches) })
}

// launch enqueues launches, all of which compute.
func (m *machine) launch(launches []launch) {
	for i := range launches {
		launches[i].kernel.Launch(m.stream, launches[i].args)
	}
}

// cut makes acts of launches; told are the numbers that leave behind the one that tells.
func (m *machine) cut(what string, launches []launch, told *departure) (acts []act) {
	from, part := 0, 0
	until := func(to int) {
		if from < to {
			part++
			acts = append(acts, act{work: m.record(fmt.Sprintf("part %d of %s", part, what), launches[from:to])})
		}
	}
	for i, l := range launches {
		switch {
		case l.kind == Start:
			until(i)
			acts, from = append(acts, act{starts: l.reduction}), i+1
		case l.kind == Wait:
			until(i)
			acts, from = append(acts, act{waits: l.reduction}), i+1
		case l.tells:
			until(i + 1)
			acts, from = append(acts, act{leaves: told}), i+1
		}
	}
	until(len(launches))
	return acts
}

// enqueue has the stream do what an act says that waits for nobody.
func (m *machine) enqueue(a *act) {
	if a.leaves != nil {
		m.leave(a.leaves)
	} else {
		a.work.Replay()
	}
}

// arrives waits until a reduction's shards are where the host sees them.
func (m *machine) arrives(r *Reduction) error {
	if r.leaves == nil {
		return m.stream.Sync()
	}
	return r.leaves.here.Wait()
}
