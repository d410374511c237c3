package program

import (
	"cmp"
	"errors"
)

var errNoCollective = errors.New("a program that shares its batch with others needs a collective")

// run does the members' acts in order, which are alike. Where devices work apart, it enqueues all that it can before it waits for anything. After an error it enqueues nothing more, but waits for the
// collectives that it started and for the devices, so that all memory is the program's again.
func (t *Team) run(c Collective) (err error) {
	for i, a := range t.members[0].acts() {
		switch {
		case err != nil && (a.waits == nil || !t.joints[a.waits.ID].flying):
		case a.starts != nil && t.links != nil:
			t.meet(t.joints[a.starts.ID])
		case a.waits != nil && t.links != nil:
			t.met(t.joints[a.waits.ID])
		case a.starts != nil:
			err = t.start(t.joints[a.starts.ID], c)
		case a.waits != nil:
			if err == nil {
				t.idle()
				err = t.handOver(c)
			}
			if j := t.joints[a.waits.ID]; j.flying {
				err = cmp.Or(err, t.wait(j, c))
			}
		default:
			for _, m := range t.members {
				m.machine.enqueue(&m.acts()[i])
			}
		}
	}
	if err != nil {
		t.starting = t.starting[:0]
		for _, m := range t.members {
			err = cmp.Or(err, m.machine.side.Sync(), m.machine.stream.Sync())
		}
	}
	return err
}

// idle is where the host is about to wait for a device, the first time in a step.
func (t *Team) idle() {
	if do := t.pending; do != nil {
		t.pending = nil
		do()
	}
}

// start has a reduction's shards leave. Who works apart hands them over once all is enqueued that waits for no sum: by then the first may be here, and the device has work for as long as the others take.
func (t *Team) start(j *joint, c Collective) error {
	if c == nil {
		return errNoCollective
	}
	for i, m := range t.members {
		if r := j.parts[i]; r.leaves != nil {
			m.machine.leave(r.leaves)
		}
	}
	t.starting = append(t.starting, j)
	if t.apart() {
		return nil
	}
	return t.handOver(c)
}

// handOver gives the collective what has left for it, in that order, each as soon as it is here.
func (t *Team) handOver(c Collective) error {
	for _, j := range t.starting {
		for i, m := range t.members {
			if err := m.machine.arrives(j.parts[i]); err != nil {
				return err
			}
		}
		j.flying = true
		c.Start(j.id, j.shards)
	}
	t.starting = t.starting[:0]
	return nil
}

// wait waits for a sum, which every member needs.
func (t *Team) wait(j *joint, c Collective) error {
	sum := j.parts[0].sum
	err := c.Wait(j.id, sum)
	j.flying = false
	if err != nil {
		return err
	}
	for i, m := range t.members {
		r := j.parts[i]
		if i > 0 {
			copy(r.sum, sum)
		}
		if r.total != nil {
			r.total.send(m.machine.stream)
		}
	}
	return nil
}
