// Package philox is the source of every random number of dither: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011), a counter-based generator. A draw is a function of (seed, purpose, step, sample, index) and nothing else: there is no state to
// lose, and any draw can be had without those before it. docs/random.md writes the layout down for other languages.
package philox

// Purpose keeps the draws of different uses apart. The numbers are part of the layout and never change their meaning.
type Purpose uint32

const (
	Init      Purpose = 1 // initial weights: step 0, sample the parameter's number in name order
	Shuffle   Purpose = 2 // the permutation of an epoch: step the epoch, from 0
	Augment   Purpose = 3 // crop and flip: step the epoch, sample the training index
	Gaussian  Purpose = 4 // Gaussian label noise: step the iteration (0 for refresh=once), sample the training index
	Symmetric Purpose = 5 // symmetric label noise: likewise
	Split     Purpose = 6 // the validation split: step 0
	Subset    Purpose = 7 // the images of a sampled gradient norm: step 0

	Perturbation Purpose = 11 // of all trainable parameters: step the draw, sample the parameter's number in name order
)

const (
	mul0  = 0xD2511F53
	mul1  = 0xCD9E8D57
	weyl0 = 0x9E3779B9
	weyl1 = 0xBB67AE85
)

// Block is Philox4x32-10: 128 random bits for a 128-bit counter under a 64-bit key.
func Block(key [2]uint32, ctr [4]uint32) [4]uint32 {
	k0, k1 := key[0], key[1]
	c0, c1, c2, c3 := ctr[0], ctr[1], ctr[2], ctr[3]
	for range 10 {
		p0 := uint64(mul0) * uint64(c0)
		p1 := uint64(mul1) * uint64(c2)
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += weyl0
		k1 += weyl1
	}
	return [4]uint32{c0, c1, c2, c3}
}

// At is block number index of a purpose at a step for a sample: key (seed low, seed high), counter (index, sample, step, purpose).
func At(seed uint64, p Purpose, step, sample, index uint32) [4]uint32 {
	return Block([2]uint32{uint32(seed), uint32(seed >> 32)}, [4]uint32{index, sample, step, uint32(p)})
}

// Unit is a number in [0, 1) with 53 bits from two words: ((hi << 32 | lo) >> 11) / 2^53.
func Unit(lo, hi uint32) float64 {
	return float64((uint64(hi)<<32|uint64(lo))>>11) * (1.0 / (1 << 53))
}

// Below is a number in [0, n) from two words by multiplying and taking the high 64 bits; n >= 1.
func Below(lo, hi uint32, n uint32) uint32 {
	// ((hi<<32|lo) * n) >> 64, without a 128-bit product.
	low := uint64(lo) * uint64(n)
	return uint32((uint64(hi)*uint64(n) + low>>32) >> 32)
}
