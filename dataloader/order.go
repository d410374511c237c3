package dataloader

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/dither-ml/dither/noise/philox"
)

// ErrBatch: a batch that no epoch can fill.
var ErrBatch = errors.New("batch does not fit the training images")

// Order says which samples each iteration takes: an epoch is floor(N/B) batches of a fresh permutation, whose rest is dropped. Any iteration
// can be asked for directly, from several goroutines at once.
type Order struct {
	seed    uint64
	samples []uint32
	batch   int

	mu     sync.Mutex
	recent [2]permuted // whoever asks ahead is in the next epoch while others are in this one; the one used last comes first
}

type permuted struct {
	epoch   uint32
	samples []uint32 // nil: none yet; never written to once here
}

// NewOrder orders the given samples (ids of training images, kept as a copy) for a seed and a global batch of so many samples. The error wraps ErrBatch.
func NewOrder(seed uint64, samples []uint32, batch int) (*Order, error) {
	switch {
	case batch < 1:
		return nil, fmt.Errorf("%w: a batch of %d images: give at least 1", ErrBatch, batch)
	case batch > len(samples):
		return nil, fmt.Errorf("%w: a batch of %d images of the %d there are: make the batch smaller or use more images", ErrBatch, batch, len(samples))
	}
	return &Order{seed: seed, samples: slices.Clone(samples), batch: batch}, nil
}

// PerEpoch is the number of iterations of an epoch.
func (o *Order) PerEpoch() int { return len(o.samples) / o.batch }

// Epoch is the epoch, from 0, of iteration k, from 1.
func (o *Order) Epoch(k uint32) uint32 {
	if k == 0 {
		panic("dataloader: iterations are counted from 1")
	}
	return (k - 1) / uint32(o.PerEpoch())
}

// Batch writes the sample ids of iteration k, from 1, into dst's memory (grown where too small) and returns them [B].
func (o *Order) Batch(k uint32, dst []uint32) []uint32 {
	epoch := o.Epoch(k)
	first := int(k-1-epoch*uint32(o.PerEpoch())) * o.batch
	return append(dst[:0], o.permutation(epoch)[first:first+o.batch]...)
}

func (o *Order) permutation(epoch uint32) []uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p := o.recent[0]; p.samples != nil && p.epoch == epoch {
		return p.samples
	}
	p := o.recent[1]
	if p.samples == nil || p.epoch != epoch {
		p = permuted{epoch, permute(slices.Clone(o.samples), o.seed, philox.Shuffle, epoch)}
	}
	o.recent[0], o.recent[1] = p, o.recent[0]
	return p.samples
}

// permute shuffles s in place (Fisher-Yates, from the last element down): element i changes places with element j <= i, drawn from words 0 and 1
// of block i of (seed, purpose, step, sample 0).
func permute(s []uint32, seed uint64, purpose philox.Purpose, step uint32) []uint32 {
	for i := len(s) - 1; i > 0; i-- {
		w := philox.At(seed, purpose, step, 0, uint32(i))
		j := philox.Below(w[0], w[1], uint32(i)+1)
		s[i], s[j] = s[j], s[i]
	}
	return s
}

// Split divides the samples 0..n-1 by seed: round(n*fraction) of them, halves away from zero, are held out for validation; 0 <= fraction <= 1.
// Both parts are ascending.
func Split(seed uint64, n int, fraction float64) (train, validation []uint32) {
	if !(fraction >= 0 && fraction <= 1) {
		panic(fmt.Sprintf("dataloader: a validation fraction of %v", fraction))
	}
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i)
	}
	held := int(math.Round(float64(n) * fraction))
	permute(all, seed, philox.Split, 0)
	validation, train = all[:held:held], all[held:]
	slices.Sort(validation)
	slices.Sort(train)
	return train, validation
}

// Subset chooses want of n things by seed, ascending: the first of a permutation drawn for the purpose of a subset. All of them where want >= n.
func Subset(seed uint64, n, want int) []uint32 {
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i)
	}
	if want >= n {
		return all
	}
	chosen := permute(all, seed, philox.Subset, 0)[:want]
	slices.Sort(chosen)
	return chosen
}
