package kernel

import "math/bits"

// Split is where the node over [a, b), b-a >= 2, of every fixed tree of sums splits: a + the largest power of two below b-a. The node's sum is that of
// [a, Split) plus that of [Split, b). Blocks of images and shards are added up in this tree, so that a sum's bits depend on how many parts there are
// and on nothing else; a part aligned to a power of two is a whole subtree, so that its owner can add it up alone.
func Split(a, b int) int {
	return a + 1<<(bits.Len(uint(b-a-1))-1)
}
