package simulation

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
)

// sizes are the floats of the tiny network's buckets; the last one is its running statistic.
var sizes = [...]int{24, 7, 40, 5}

const (
	trainable  = len(sizes) - 1 // buckets of parameters
	classes    = 2
	perShard   = 2 // samples of a shard
	testImages = 7
	normImages = 5
)

// names of the tensors, by bucket, in the order of their names.
var names = [...]string{"a.weight", "b.weight", "c.weight", "d.running_mean"}

// state is all that an iteration changes.
type state struct {
	values   [len(sizes)][]float32 // parameters, and the running statistic
	momentum [trainable][]float32
}

func newState(seed uint64) *state {
	s := &state{}
	for b, n := range sizes {
		s.values[b] = make([]float32, n)
		if b < trainable {
			s.momentum[b] = make([]float32, n)
		}
		for i := range n {
			s.values[b][i] = unit(mix(seed, 1, uint64(b), uint64(i)))
		}
	}
	return s
}

// mix is a number that depends on every bit of what it is given.
func mix(words ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, w := range words {
		h ^= w
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 29
		h *= 0x94d049bb133111eb
		h ^= h >> 32
	}
	return h
}

// unit is a number of [-1, 1).
func unit(h uint64) float32 { return float32(int64(h)>>40) / (1 << 23) }

func bits(v float32) uint64 { return uint64(math.Float32bits(v)) }

// digest is of every bit of the state.
func (s *state) digest() uint64 {
	h := fnv.New64a()
	var b [4]byte
	add := func(vs []float32) {
		for _, v := range vs {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
			h.Write(b[:])
		}
	}
	for _, vs := range s.values {
		add(vs)
	}
	for _, vs := range s.momentum {
		add(vs)
	}
	return h.Sum64()
}

func (s *state) clone() *state {
	c := &state{}
	for b, vs := range s.values {
		c.values[b] = append([]float32(nil), vs...)
	}
	for b, vs := range s.momentum {
		c.momentum[b] = append([]float32(nil), vs...)
	}
	return c
}

// magnitudes make a sum depend on its order: what 1e8 swallows comes back or does not.
var magnitudes = [...]float32{1e8, 1, -1e8, 3, -1, 0.37, -3e7, 1e8}

// gradient writes that of one shard for a bucket: a function of the state, the iteration, the shard and its soft labels.
func (s *state) gradient(bucket int, k uint32, shard int, soft []float32, out []float32) {
	labels := uint64(0)
	for _, v := range soft {
		labels = mix(labels, bits(v))
	}
	for i := range out {
		own := bits(s.values[bucket][i])
		if bucket < trainable {
			own = mix(own, bits(s.momentum[bucket][i]))
		}
		h := mix(own, uint64(bucket), uint64(i), uint64(k))
		out[i] = magnitudes[(h+uint64(shard))%uint64(len(magnitudes))] * (1 + unit(mix(h, uint64(shard), labels))/4)
	}
}

// loss is a shard's part of it.
func (s *state) loss(k uint32, shard int, soft []float32) float32 {
	v := unit(mix(bits(s.values[0][int(k)%sizes[0]]), bits(s.values[trainable][shard%sizes[trainable]]), uint64(k), uint64(shard)))
	for _, l := range soft {
		v += l / 8
	}
	return v + 2
}

// commit applies the sum over all shards to one bucket. A bit that differs in a sum makes another state, now and after every later iteration.
func (s *state) commit(bucket int, k uint32, sum []float32) {
	for i, g := range sum {
		step := unit(mix(bits(g), uint64(bucket), uint64(i)))
		if bucket < trainable {
			m := float32(0.9*s.momentum[bucket][i]) + step
			s.momentum[bucket][i] = m
			s.values[bucket][i] -= float32(0.125 * m)
		} else {
			s.values[bucket][i] = float32(0.75*s.values[bucket][i]) + step
		}
	}
}

// judge is what an evaluation finds for a test image.
func (s *state) judge(image int) (loss, right float64) {
	h := mix(bits(s.values[1][image%sizes[1]]), uint64(image))
	return float64(unit(h)) + 2, float64(h >> 63)
}

// norm is the squared gradient norm of an image.
func (s *state) norm(image int) float64 { return float64(unit(mix(bits(s.values[2][image]), 7))) + 2 }

// softLabels are those of some samples at iteration k [n][classes].
func softLabels(seed uint64, k uint32, samples []uint32) []float32 {
	out := make([]float32, 0, classes*len(samples))
	for _, sample := range samples {
		for c := range uint64(classes) {
			out = append(out, unit(mix(seed, 2, uint64(k), uint64(sample), c)))
		}
	}
	return out
}

// samplesOf are those of the shards [first, end) at iteration k.
func samplesOf(seed uint64, k uint32, first, end int) []uint32 {
	out := make([]uint32, 0, perShard*(end-first))
	for i := first * perShard; i < end*perShard; i++ {
		out = append(out, uint32(mix(seed, 3, uint64(k), uint64(i))%1000))
	}
	return out
}

func labelDigest(soft []float32) string {
	h := uint64(4)
	for _, v := range soft {
		h = mix(h, bits(v))
	}
	return fmt.Sprintf("%016x", h)
}
