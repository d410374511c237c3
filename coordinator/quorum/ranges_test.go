package quorum

import (
	"fmt"
	"slices"
	"testing"
)

// every cut of the shards into parts of size or size+1, by brute force.
func every(shards, trainers int, visit func([]Range)) {
	size, longer := shards/trainers, shards%trainers
	var cut func(done []Range, longer int)
	cut = func(done []Range, longer int) {
		first := 0
		if len(done) > 0 {
			first = done[len(done)-1].End
		}
		left := trainers - len(done)
		if left == 0 {
			visit(done)
			return
		}
		if longer > 0 {
			cut(append(slices.Clip(done), Range{first, first + size + 1}), longer-1)
		}
		if left > longer {
			cut(append(slices.Clip(done), Range{first, first + size}), longer)
		}
	}
	cut(nil, longer)
}

func total(shards int, rs []Range) int {
	n := 0
	for _, r := range rs {
		n += subtrees(0, shards, r.First, r.End)
	}
	return n
}

func TestRangesAreBalancedAndCheapest(t *testing.T) {
	for shards := 1; shards <= 14; shards++ {
		for trainers := 1; trainers <= shards; trainers++ {
			got := Ranges(shards, trainers)
			least := 1 << 30
			valid := false
			every(shards, trainers, func(rs []Range) {
				least = min(least, total(shards, rs))
				valid = valid || slices.Equal(rs, got)
			})
			if !valid {
				t.Errorf("%d shards over %d: %v are not contiguous parts of sizes that differ by at most one", shards, trainers, got)
			}
			if n := total(shards, got); n != least {
				t.Errorf("%d shards over %d: %v are %d subtrees, %d would do", shards, trainers, got, n, least)
			}
		}
	}
}

func TestRangesByHand(t *testing.T) {
	for _, c := range []struct {
		shards, trainers int
		want             string
	}{
		{1, 1, "[{0 1}]"},
		{8, 3, "[{0 3} {3 6} {6 8}]"},
		{6, 4, "[{0 2} {2 4} {4 5} {5 6}]"},           // 4 trainers of 6 shards: the pairs are subtrees
		{7, 2, "[{0 4} {4 7}]"},                       // the tree splits 7 after 4
		{12, 5, "[{0 3} {3 6} {6 8} {8 10} {10 12}]"}, // as few pieces as can be
		{64, 4, "[{0 16} {16 32} {32 48} {48 64}]"},   // one subtree each
		{5, 4, "[{0 2} {2 3} {3 4} {4 5}]"},           // the longer part first
		{3, 2, "[{0 2} {2 3}]"},                       //
		{1000, 2, "[{0 500} {500 1000}]"},             // balance goes before alignment
		{4, 4, "[{0 1} {1 2} {2 3} {3 4}]"},           // the most trainers that there can be
	} {
		if got := fmt.Sprint(Ranges(c.shards, c.trainers)); got != c.want {
			t.Errorf("%d shards over %d: %s, not %s", c.shards, c.trainers, got, c.want)
		}
	}
}

func TestSubtrees(t *testing.T) {
	for _, c := range []struct{ shards, first, end, want int }{
		{8, 0, 8, 1}, {8, 0, 3, 2}, {8, 1, 7, 4}, {6, 4, 6, 1}, {6, 2, 6, 2}, {5, 4, 5, 1}, {7, 4, 7, 1}, {7, 3, 7, 2},
	} {
		if got := subtrees(0, c.shards, c.first, c.end); got != c.want {
			t.Errorf("[%d,%d) of %d shards: %d subtrees, not %d", c.first, c.end, c.shards, got, c.want)
		}
	}
}

func TestRangesOfAGreatRun(t *testing.T) {
	rs := Ranges(1500, 1000)
	if rs[0].First != 0 || rs[999].End != 1500 {
		t.Errorf("from %d to %d", rs[0].First, rs[999].End)
	}
}
