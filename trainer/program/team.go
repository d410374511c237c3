package program

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Team is one trainer's share of an iteration on one kernel set or several (GPUs) side by side: a Training on each, with a contiguous range of the trainer's shards. They run in step, have the same state, and to everybody else
// are one: its shards come to the collective in order, whoever computed them. One goroutine has them all in hand; devices that work apart work at once.
type Team struct {
	members   []*Training
	joints    []*joint // by collective
	starting  []*joint // that left for the collective and were not handed to it
	meanwhile func()   // of Meanwhile
	pending   func()   // that, in a Step in which the host did not wait yet
	rooms     []Samples
	links     *links    // nil: sums go through the host
	losses    []float32 // by shard, where there are several members
	correct   []float32
}

// joint is one reduction of all members.
type joint struct {
	id     uint32
	parts  []*Reduction // by member
	shards [][]float32  // of all members, in order
	flying bool         // started and not yet waited for: shards are the collective's
}

// NewTeam makes the share of c of c.Groups shards, which it spreads over the sets as evenly as can be. Sets that would have none are left idle. An error is NewTraining's, or that the sets are not alike.
func NewTeam(sets []kernel.Set, c TrainingConfig) (*Team, error) {
	var members []*Training
	n := min(len(sets), c.Groups)
	for i, set := range sets[:n] {
		if its, first := set.Arithmetic(), sets[0].Arithmetic(); its != first || set.Name() != sets[0].Name() {
			return nil, fmt.Errorf("kernel set %s computes in %s and %s beside it in %s: the devices of one trainer must be alike", sets[0].Name(), first, set.Name(), its)
		}
		part := c
		part.Groups = c.Groups*(i+1)/n - c.Groups*i/n
		t, err := NewTraining(set, part)
		if err != nil {
			return nil, err
		}
		members = append(members, t)
	}
	if len(members) == 1 {
		return members[0].alone, nil
	}
	t := newTeam(members)
	if err := t.link(); err != nil {
		return nil, err
	}
	return t, nil
}

func newTeam(members []*Training) *Team {
	t := &Team{members: members, joints: make([]*joint, members[0].ids), rooms: make([]Samples, len(members))}
	for _, m := range members {
		if !slices.EqualFunc(m.acts(), members[0].acts(), act.alike) {
			panic(fmt.Sprintf("program: %d and %d shards of %s are computed in other steps", m.config.Groups, members[0].config.Groups, m.config.Model.Name))
		}
		for _, s := range m.steps {
			if s.Kind != Start {
				continue
			}
			r := s.Reduction
			if t.joints[r.ID] == nil {
				t.joints[r.ID] = &joint{id: r.ID}
			}
			j := t.joints[r.ID]
			j.parts, j.shards = append(j.parts, r), append(j.shards, r.shards...)
		}
	}
	if len(members) > 1 {
		for _, m := range members {
			t.losses = append(t.losses, make([]float32, m.config.Groups)...)
		}
		t.correct = make([]float32, len(t.losses))
	}
	return t
}

// Meanwhile has every Step call do once, when all that it can enqueue is enqueued and the host is about to wait; where the kernel set does its work as it is enqueued, never.
func (t *Team) Meanwhile(do func()) {
	if t.apart() {
		t.meanwhile = do
	}
}

func (t *Team) apart() bool { return t.members[0].machine.apart }

// Step goes forward and backward over the input that was sent last, and sums over all shards. It changes neither parameters nor momentum nor running statistics.
// It gives each owned shard's part of the loss and its images that the network got right, valid until the next Step: that is known before the gradients are, which
// a device that works apart may still compute when Step returns. c is not asked, and may be nil, where one kernel set has every shard, or several do that reach each other.
func (t *Team) Step(c Collective) (losses, correct []float32, err error) {
	for _, m := range t.members {
		m.begin()
	}
	t.pending = t.meanwhile
	if err := t.run(c); err != nil {
		return nil, nil, err
	}
	t.idle()
	at := 0
	for _, m := range t.members {
		if err := m.told.here.Wait(); err != nil {
			return nil, nil, err
		}
		if t.losses != nil {
			copy(t.correct[at:], m.corrects.host)
			at += copy(t.losses[at:], m.losses.host)
		}
	}
	for _, m := range t.members {
		m.summed = true
	}
	if t.losses == nil {
		return t.members[0].losses.host, t.members[0].corrects.host, nil
	}
	return t.losses, t.correct, nil
}

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
