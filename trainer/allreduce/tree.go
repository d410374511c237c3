package allreduce

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Range is the shards [First, End).
type Range struct{ First, End int }

func (r Range) String() string { return fmt.Sprintf("[%d, %d)", r.First, r.End) }

// Subtrees are the maximal complete subtrees (nodes of the tree over all shards) inside r, in order. They cover r.
func Subtrees(r Range, shards int) []Range {
	return subtrees(nil, r, Range{0, shards})
}

func subtrees(found []Range, r, node Range) []Range {
	switch {
	case node.End <= r.First || r.End <= node.First:
		return found
	case r.First <= node.First && node.End <= r.End:
		return append(found, node)
	}
	middle := kernel.Split(node.First, node.End)
	found = subtrees(found, r, Range{node.First, middle})
	return subtrees(found, r, Range{middle, node.End})
}

// node is a node of the tree at or above the cut.
type node struct {
	shards  Range
	rank    int  // who sends its sum, where it is on the cut; else -1
	parent  int  // -1: the root
	sibling int  // the parent's other child
	left    bool // it is the parent's left child
}

// tree is the part of the tree over all shards that lies above the cut made by the trainers' subtrees, and the cut. Node 0 is the root.
type tree struct {
	nodes  []node
	leaves map[Range]int // the nodes on the cut
}

func newTree(ranges []Range) tree {
	t := tree{leaves: map[Range]int{}}
	t.grow(Range{0, ranges[len(ranges)-1].End}, -1, ranges)
	return t
}

func (t *tree) grow(shards Range, parent int, ranges []Range) int {
	at := len(t.nodes)
	t.nodes = append(t.nodes, node{shards: shards, rank: -1, parent: parent, sibling: -1})
	for rank, r := range ranges {
		if r.First <= shards.First && shards.End <= r.End {
			t.nodes[at].rank = rank
			t.leaves[shards] = at
			return at
		}
	}
	middle := kernel.Split(shards.First, shards.End)
	left := t.grow(Range{shards.First, middle}, at, ranges)
	right := t.grow(Range{middle, shards.End}, at, ranges)
	t.nodes[left].left, t.nodes[left].sibling = true, right
	t.nodes[right].sibling = left
	return at
}
