package program

import (
	"cmp"

	"github.com/dither-ml/dither/trainer/model"
)

// All members have one state. It is read from the first, and set on each.

// First is the member of the first shards.
func (t *Team) First() *Training { return t.members[0] }

// Parameters are the network's, in the order of its layers.
func (t *Team) Parameters() []model.Parameter { return t.First().Parameters() }

// Collectives is how many collectives a step has: their ids are below it.
func (t *Team) Collectives() uint32 { return t.First().ids }

// FLOPs of a step, of all members together.
func (t *Team) FLOPs() (n float64) {
	for _, m := range t.members {
		n += m.FLOPs()
	}
	return n
}

// each calls do for every member, and gives the first error.
func (t *Team) each(do func(m *Training) error) (err error) {
	for _, m := range t.members {
		err = cmp.Or(err, do(m))
	}
	return err
}

// Load sets a parameter or running statistic.
func (t *Team) Load(name string, v []float32) error {
	return t.each(func(m *Training) error { return m.Load(name, v) })
}

// LoadMomentum sets the momentum of a trainable parameter.
func (t *Team) LoadMomentum(name string, v []float32) error {
	return t.each(func(m *Training) error { return m.LoadMomentum(name, v) })
}

// ClearMomentum sets every momentum to what it is before the first iteration.
func (t *Team) ClearMomentum() error { return t.each((*Training).ClearMomentum) }

// Read gets a parameter or running statistic.
func (t *Team) Read(name string, v []float32) error { return t.First().Read(name, v) }

// ReadMomentum gets the momentum of a trainable parameter.
func (t *Team) ReadMomentum(name string, v []float32) error { return t.First().ReadMomentum(name, v) }

// State is a copy of parameters, momentum and running statistics, for SetState.
func (t *Team) State() ([3][]float32, error) { return t.First().State() }

// SetState sets them to those of a program of the same network, whatever shards that one owned.
func (t *Team) SetState(state [3][]float32) error {
	return t.each(func(m *Training) error { return m.SetState(state) })
}

// CopyState takes parameters, momentum and running statistics from a program of the same network, whatever shards that one owns.
func (t *Team) CopyState(from *Team) error {
	state, err := from.State()
	if err != nil {
		return err
	}
	return t.SetState(state)
}

// Commit is a Training's, of all members: they apply the same sums to the same state.
func (t *Team) Commit(lr float64) (err error) {
	for _, m := range t.members {
		err = cmp.Or(err, m.Commit(lr))
	}
	return err
}

// SumFloats is how many numbers Sums gives.
func (t *Team) SumFloats() int { return t.First().SumFloats() }

// Sums is a Training's.
func (t *Team) Sums(dst []float32) error { return t.First().Sums(dst) }

// CommitSums is a Training's, of all members.
func (t *Team) CommitSums(sums []float32, lr float64) error {
	return t.each(func(m *Training) error { return m.CommitSums(sums, lr) })
}

// Close lets the memory go, once no member needs another's.
func (t *Team) Close() {
	if t.links != nil {
		for i, m := range t.members {
			_, _ = t.links.streams[i].Sync(), m.machine.stream.Sync() // who broke has said so
		}
	}
	for _, m := range t.members {
		m.Close()
	}
}
