package allreduce

import "github.com/dither-ml/dither/trainer/allreduce/wire"

// assembly is the state of one chunk: at its owner the sums of nodes that wait for their siblings, and everywhere the chunk's sum. It decides only what is to be added;
// adding is left to the caller, who need not hold a lock for it.
type assembly struct {
	seen []bool         // by node: its partial has come
	sums []*wire.Buffer // by node: a sum that waits for its sibling's. Invariant: not both of two siblings
	sum  *wire.Buffer   // of the root, once it is there
}

func newAssembly(t *tree) *assembly {
	return &assembly{seen: make([]bool, len(t.nodes)), sums: make([]*wire.Buffer, len(t.nodes))}
}

// put hands in the sum of a node. Where its sibling's is there, both come back: left += right is then to be put as the parent's. Otherwise left is nil.
func (a *assembly) put(t *tree, at int, sum *wire.Buffer) (left, right *wire.Buffer, parent int) {
	n := &t.nodes[at]
	if n.parent < 0 {
		a.sum = sum
		return nil, nil, -1
	}
	other := a.sums[n.sibling]
	if other == nil {
		a.sums[at] = sum
		return nil, nil, -1
	}
	a.sums[n.sibling] = nil
	if n.left {
		return sum, other, n.parent
	}
	return other, sum, n.parent
}

// missing is the rank of a trainer among the departed whose partial has not come, or -1.
func (a *assembly) missing(t *tree, departed []bool) int {
	for i := range t.nodes {
		if rank := t.nodes[i].rank; rank >= 0 && departed[rank] && !a.seen[i] {
			return rank
		}
	}
	return -1
}

// release gives up every buffer and makes the assembly as new.
func (a *assembly) release() {
	for i, b := range a.sums {
		if b != nil {
			b.Release()
			a.sums[i] = nil
		}
	}
	if a.sum != nil {
		a.sum.Release()
		a.sum = nil
	}
	clear(a.seen)
}
