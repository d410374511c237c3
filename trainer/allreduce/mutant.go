package allreduce

import (
	"sync/atomic"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Mutant is a fault in the all-reduce itself. A test of a whole run puts one in to show that it would be found.
type Mutant int32

const (
	// AcceptStale lets chunks of generations and iterations that are over count as those of the present one, and the first of two that are the same chunk.
	AcceptStale Mutant = 1 + iota
	// SumOverTrainers adds each trainer's shards up first and then the trainers: the bits depend on how many there are.
	SumOverTrainers
)

var mutant atomic.Int32

// Mutate puts a fault into every Reducer and every exchange of a MemoryNode made from now on, and takes out any other; undo leaves none. It is for tests only.
func Mutate(m Mutant) (undo func()) {
	mutant.Store(int32(m))
	return func() { mutant.Store(0) }
}

func mutated(m Mutant) bool { return Mutant(mutant.Load()) == m }

// trainerTree is SumOverTrainers' tree: a trainer's whole range is a leaf.
func trainerTree(ranges []Range) tree {
	t := tree{leaves: map[Range]int{}}
	var grow func(first, end, parent int) int
	grow = func(first, end, parent int) int {
		at, shards := len(t.nodes), Range{ranges[first].First, ranges[end-1].End}
		t.nodes = append(t.nodes, node{shards: shards, rank: -1, parent: parent, sibling: -1})
		if end-first == 1 {
			t.nodes[at].rank, t.leaves[shards] = first, at
			return at
		}
		middle := kernel.Split(first, end)
		left := grow(first, middle, at)
		right := grow(middle, end, at)
		t.nodes[left].left, t.nodes[left].sibling = true, right
		t.nodes[right].sibling = left
		return at
	}
	grow(0, len(ranges), -1)
	return t
}

// now is the present iteration.
func (r *Reducer) now() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.iteration
}
