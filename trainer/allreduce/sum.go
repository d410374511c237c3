package allreduce

import (
	"math/bits"

	"github.com/dither-ml/dither/trainer/kernel"
)

// sumBlock is how many floats a subtree is added up over at a time, so that they stay in the processor's nearest cache.
const sumBlock = 1024

// adder adds up complete subtrees of shards. One goroutine uses it at a time.
type adder struct {
	scratch []float32 // a block for each level of the tree
}

func newAdder(shards int) adder {
	return adder{scratch: make([]float32, sumBlock*bits.Len(uint(shards)))}
}

// sum writes the sum over a subtree's shards of the elements [from, from+len(dst)) into dst, in tree order. Where a node is cut depends on its length alone, so
// the subtree's shards can be counted from 0.
func (a adder) sum(dst []float32, shards [][]float32, from int) {
	for at := 0; at < len(dst); at += sumBlock {
		block := dst[at:min(at+sumBlock, len(dst))]
		fold(block, shards, from+at, a.scratch)
	}
}

func fold(dst []float32, shards [][]float32, from int, scratch []float32) {
	switch len(shards) {
	case 1:
		copy(dst, shards[0][from:])
	case 2:
		add(dst, shards[0][from:], shards[1][from:])
	default:
		middle := kernel.Split(0, len(shards))
		fold(dst, shards[:middle], from, scratch)
		if right := shards[middle:]; len(right) == 1 {
			add(dst, dst, right[0][from:])
		} else {
			fold(scratch[:len(dst)], right, from, scratch[sumBlock:])
			add(dst, dst, scratch)
		}
	}
}

// add is dst = x + y over dst's length; dst may be either.
func add(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for len(dst) >= 4 && len(x) >= 4 && len(y) >= 4 {
		dst[0] = x[0] + y[0]
		dst[1] = x[1] + y[1]
		dst[2] = x[2] + y[2]
		dst[3] = x[3] + y[3]
		dst, x, y = dst[4:], x[4:], y[4:]
	}
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}
