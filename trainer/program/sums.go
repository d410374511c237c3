package program

import "fmt"

// SumFloats is how many numbers Sums gives.
func (t *Training) SumFloats() int {
	n := 0
	for _, v := range t.sums {
		n += v.Len
	}
	return n
}

// Sums writes what the last Step summed over all shards, and a Commit applies: the gradients in the order of the buckets, then the running statistics [SumFloats()]. It is there until the next Step.
func (t *Training) Sums(dst []float32) error {
	if err := t.checkSums(dst); err != nil {
		return err
	}
	for _, v := range t.sums {
		t.machine.stream.Read(dst[:v.Len], v.Memory)
		dst = dst[v.Len:]
	}
	return t.machine.stream.Sync()
}

// CommitSums applies sums that another trainer's Step gave, whatever shards it owned, with learning rate lr: the state's bits are those of its Commit. A Step that waits for its Commit is dropped.
func (t *Training) CommitSums(sums []float32, lr float64) error {
	if err := t.checkSums(sums); err != nil {
		return err
	}
	for _, v := range t.sums {
		t.machine.stream.Write(v.Memory, sums[:v.Len])
		sums = sums[v.Len:]
	}
	if err := t.machine.stream.Sync(); err != nil { // no step waits for the commit before
		return err
	}
	t.summed = true
	return t.Commit(lr)
}

func (t *Training) checkSums(v []float32) error {
	if len(v) != t.SumFloats() {
		return fmt.Errorf("%s has %d sums, not %d", t.config.Model.Name, t.SumFloats(), len(v))
	}
	return nil
}

// CopyState takes parameters, momentum and running statistics from a program of the same network, whatever shards that one owns.
func (t *Training) CopyState(from *Training) error {
	state, err := from.State()
	if err != nil {
		return err
	}
	return t.SetState(state)
}

// State is a copy of parameters, momentum and running statistics, for SetState.
func (t *Training) State() (state [3][]float32, err error) {
	for i, v := range t.stateful() {
		state[i] = make([]float32, v.Len)
		t.machine.stream.Read(state[i], v.Memory)
	}
	return state, t.machine.stream.Sync()
}

// SetState sets them to those of a program of the same network, whatever shards that one owned.
func (t *Training) SetState(state [3][]float32) error {
	for i, v := range t.stateful() {
		if v.Len != len(state[i]) {
			return fmt.Errorf("%s of %s has %d numbers, not %d", v.Name, t.config.Model.Name, v.Len, len(state[i]))
		}
		t.machine.stream.Write(v.Memory, state[i])
	}
	return t.machine.stream.Sync()
}

func (t *Training) stateful() [3]*Value { return [3]*Value{t.theta, t.momentum, t.running} }

// ClearMomentum sets every momentum to what it is before the first iteration.
func (t *Training) ClearMomentum() error {
	t.machine.stream.Write(t.momentum.Memory, make([]float32, t.momentum.Len))
	return t.machine.stream.Sync()
}
