package allreduce

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dither-ml/dither/trainer/kernel"
)

// ranges draws who owns which of how many shards.
func ranges(t *rapid.T, shards, ranks int) []Range {
	cuts := []int{0, shards}
	for len(cuts) < ranks+1 {
		c := rapid.IntRange(1, shards-1).Draw(t, "cut")
		for slices.Contains(cuts, c) {
			c = c%(shards-1) + 1
		}
		cuts = append(cuts, c)
	}
	slices.Sort(cuts)
	var rs []Range
	for i := range ranks {
		rs = append(rs, Range{cuts[i], cuts[i+1]})
	}
	return rs
}

// treeNodes are all nodes of the tree over shards, with their parents.
func treeNodes(node, parent Range, into map[Range]Range) {
	into[node] = parent
	if node.End-node.First > 1 {
		m := kernel.Split(node.First, node.End)
		treeNodes(Range{node.First, m}, node, into)
		treeNodes(Range{m, node.End}, node, into)
	}
}

func TestSubtreesAreTheMaximalOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.IntRange(1, 200).Draw(t, "shards")
		first := rapid.IntRange(0, shards-1).Draw(t, "first")
		r := Range{first, rapid.IntRange(first+1, shards).Draw(t, "end")}
		nodes := map[Range]Range{}
		treeNodes(Range{0, shards}, Range{}, nodes)
		at := r.First
		subtrees := Subtrees(r, shards)
		for _, s := range subtrees {
			parent, isNode := nodes[s]
			if !isNode || s.First != at {
				t.Fatalf("subtrees of %v are %v: %v is no node or does not begin at %d", r, subtrees, s, at)
			}
			if r.First <= parent.First && parent.End <= r.End && parent.End > 0 {
				t.Fatalf("subtrees of %v are %v: the parent of %v, %v, lies inside too", r, subtrees, s, parent)
			}
			at = s.End
		}
		if at != r.End {
			t.Fatalf("subtrees of %v end at %d", r, at)
		}
		if most := 2 * bits.Len(uint(shards-1)); len(subtrees) > max(1, most) {
			t.Fatalf("%d subtrees in %v of %d shards, more than 2 log2 S", len(subtrees), r, shards)
		}
	})
}

func TestSubtreesByHand(t *testing.T) {
	for _, v := range []struct {
		r      Range
		shards int
		want   []Range
	}{
		{Range{0, 6}, 6, []Range{{0, 6}}},
		{Range{0, 3}, 6, []Range{{0, 2}, {2, 3}}},
		{Range{3, 6}, 6, []Range{{3, 4}, {4, 6}}},
		{Range{1, 7}, 8, []Range{{1, 2}, {2, 4}, {4, 6}, {6, 7}}},
		{Range{4, 7}, 7, []Range{{4, 7}}},
		{Range{2, 2}, 7, nil},
	} {
		if got := Subtrees(v.r, v.shards); !slices.Equal(got, v.want) {
			t.Errorf("subtrees in %v of %d shards are %v, want %v", v.r, v.shards, got, v.want)
		}
	}
}

func TestTreeAboveTheCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.IntRange(1, 40).Draw(t, "shards")
		rs := ranges(t, shards, rapid.IntRange(1, shards).Draw(t, "ranks"))
		tr := newTree(rs)
		leaves := 0
		for rank, r := range rs {
			for _, s := range Subtrees(r, shards) {
				if at, ok := tr.leaves[s]; !ok || tr.nodes[at].rank != rank {
					t.Fatalf("subtree %v of rank %d is not on the cut", s, rank)
				}
				leaves++
			}
		}
		if len(tr.leaves) != leaves || len(tr.nodes) != 2*leaves-1 {
			t.Fatalf("%d nodes and %d leaves for %d subtrees", len(tr.nodes), len(tr.leaves), leaves)
		}
		for i, n := range tr.nodes[1:] {
			parent, sibling := tr.nodes[n.parent], tr.nodes[n.sibling]
			left, right := n, sibling
			if !n.left {
				left, right = sibling, n
			}
			if sibling.sibling != i+1 || sibling.left == n.left || left.shards.First != parent.shards.First || left.shards.End != right.shards.First || right.shards.End != parent.shards.End {
				t.Fatalf("node %+v and its sibling %+v do not make %+v", n, sibling, parent)
			}
		}
	})
}
