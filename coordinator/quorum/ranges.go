package quorum

// Range is the shards [First, End).
type Range struct{ First, End int }

// Ranges gives each of the trainers, in rank order, its contiguous part of the shards; 1 <= trainers <= shards. Sizes differ by at most one.
// Where that leaves a choice, the parts are cut so that they consist of as few complete subtrees of the all-reduce's tree as they can (a part
// travels as one partial sum a subtree); on a tie the longer parts come first.
func Ranges(shards, trainers int) []Range {
	size, longer := shards/trainers, shards%trainers
	// cost[i][l] is the least number of subtrees for the trainers i.. when l of those before i have a longer part.
	cost := make([][]int, trainers+1)
	for i := range cost {
		cost[i] = make([]int, longer+1)
	}
	part := func(i, l, n int) int { first := i*size + l; return subtrees(0, shards, first, first+n) }
	const none = 1 << 30
	for l := range longer {
		cost[trainers][l] = none // every longer part must be given
	}
	takeLonger := func(i, l int) int {
		if l == longer {
			return none
		}
		return part(i, l, size+1) + cost[i+1][l+1]
	}
	for i := trainers - 1; i >= 0; i-- {
		for l := range cost[i] {
			cost[i][l] = min(takeLonger(i, l), part(i, l, size)+cost[i+1][l])
		}
	}
	ranges := make([]Range, trainers)
	first, l := 0, 0
	for i := range ranges {
		n := size
		if takeLonger(i, l) == cost[i][l] {
			n++
		}
		ranges[i] = Range{first, first + n}
		first, l = first+n, l+n-size
	}
	return ranges
}

// subtrees is how many complete subtrees of the node over [lo, hi) cover [first, end) of it. A node splits after the largest power of two below its length.
func subtrees(lo, hi, first, end int) int {
	switch {
	case end <= lo || hi <= first:
		return 0
	case first <= lo && hi <= end:
		return 1
	}
	half := 1
	for 2*half < hi-lo {
		half *= 2
	}
	return subtrees(lo, lo+half, first, end) + subtrees(lo+half, hi, first, end)
}
