package program

import (
	"slices"

	"github.com/dither-ml/dither/trainer/model"
)

// bucketFloats is where a bucket closes: large enough that a message's cost is small against its contents, small enough that the first leaves early.
const bucketFloats = 128 << 10

// place is where a parameter lies.
type place struct {
	parameter model.Parameter
	offset    int // in the flat parameters, or in the flat running statistics
	bucket    int // of its gradient; trainable parameters only
	inBucket  int // offset in the bucket
}

// bucket is a run of trainable parameters whose gradients travel together.
type bucket struct {
	offset int // in the flat parameters
	floats int
}

// layout puts the trainable parameters in the order in which the backward pass completes their gradients, the last layer first, gamma and beta
// of a BatchNorm side by side, and the running statistics in the order of the layers, mean and variance side by side. It is a function of the
// network alone.
type layout struct {
	places     map[string]*place
	order      []*place // trainable, as they lie
	buckets    []bucket
	parameters int // elements
	running    int // elements
}

func newLayout(ps []model.Parameter) *layout {
	l := &layout{places: map[string]*place{}}
	var units [][]model.Parameter
	for _, p := range ps {
		switch p.Kind {
		case model.Mean, model.Variance:
			l.places[p.Name] = &place{parameter: p, offset: l.running}
			l.running += p.Len()
		case model.Beta, model.Bias:
			units[len(units)-1] = append(units[len(units)-1], p)
		default:
			units = append(units, []model.Parameter{p})
		}
	}
	slices.Reverse(units)
	for _, unit := range units {
		if n := len(l.buckets); n == 0 || l.buckets[n-1].floats >= bucketFloats {
			l.buckets = append(l.buckets, bucket{offset: l.parameters})
		}
		b := &l.buckets[len(l.buckets)-1]
		for _, p := range unit {
			at := &place{parameter: p, offset: l.parameters, bucket: len(l.buckets) - 1, inBucket: b.floats}
			l.places[p.Name] = at
			l.order = append(l.order, at)
			l.parameters += aligned(p.Len())
			b.floats += aligned(p.Len())
		}
	}
	return l
}
