package ols

import (
	"math/bits"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// Which samples are in the batch of iteration k = 1, 2, ... is a function of (seed, stream, k), so that any batch can be drawn alone. A 64-bit word of a Philox block gives several draws:
// with u the word, a draw below n is the high word of u * n, and the low word is the u of the next. As many draws share a word as keep N^draws <= 2^34: then no tuple of draws is more
// likely than another by more than 2^-30 of its chance. Figure 1's batch is one word, and a block serves two iterations.
//
// Without replacement by Floyd's algorithm (Bentley and Floyd 1987): for j = N-B, ..., N-1 draw t below j+1, and take t, or j where t is taken already. Every set of B is as likely as
// any other; the order is not uniform, and does not matter to a sum.

// plan is how the words of a chain become batches.
type plan struct {
	seed    uint64
	stream  uint32
	n, b    uint64
	floyd   bool // without replacement
	perWord int  // draws of a word
	words   int  // of an iteration
}

func (s *Setting) plan() plan {
	perWord := 0
	for limit := uint64(1) << 34; limit >= uint64(s.N) && perWord < s.Batch; perWord++ {
		limit /= uint64(s.N)
	}
	return plan{
		seed: s.Seed, stream: s.Stream,
		n: uint64(s.N), b: uint64(s.Batch), floyd: !s.Replacement, perWord: perWord, words: (s.Batch + perWord - 1) / perWord,
	}
}

// word is number w of iteration k's words.
func (p *plan) word(k int64, w int) uint64 {
	number := uint64(k-1)*uint64(p.words) + uint64(w)
	q := number / 2
	even, odd := philox.Words(p.seed, philox.OLSBatch, uint32(q), p.stream, uint32(q>>32))
	if number%2 == 1 {
		return odd
	}
	return even
}

// batch draws the batch of iteration k into out [B]. taken [N] is all false, and is left so; it is not used with replacement.
func (p *plan) batch(k int64, out []uint32, taken []bool) {
	var u, t uint64
	for i := range out {
		if i%p.perWord == 0 {
			u = p.word(k, i/p.perWord)
		}
		last := p.n - 1
		if p.floyd {
			last = p.n - p.b + uint64(i)
		}
		t, u = bits.Mul64(u, last+1)
		if p.floyd {
			if taken[t] {
				t = last
			}
			taken[t] = true
		}
		out[i] = uint32(t)
	}
	if p.floyd {
		for _, t := range out {
			taken[t] = false
		}
	}
}

// BatchAt is the samples of iteration k, from 1 on.
func (s *Setting) BatchAt(k int64) []uint32 {
	p := s.plan()
	out := make([]uint32, s.Batch)
	p.batch(k, out, make([]bool, s.N))
	return out
}

// noiseAt draws standard normals for the places of iteration k's batch, from 1 on, into out: [B], rounded up to fours.
func (s *Setting) noiseAt(k int64, out []float64) {
	for i := 0; i < len(out); i += 4 {
		four := elementary.Normals(philox.At(s.Seed, philox.OLSNoise, uint32(k), s.Stream, uint32(k>>32)<<16|uint32(i/4)))
		copy(out[i:i+4], four[:])
	}
}
