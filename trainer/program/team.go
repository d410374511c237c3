package program

import (
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
