package simulation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// Slots of the metrics vector of a shard.
const (
	slotLoss   = 0
	slotRight  = 1
	slotStop   = 2
	slotSecond = 3
	slotDigest = 4 // 16 bits in each of four floats
	slots      = 8
)

// defect is an error of the network itself that an all-reduce, a state or an order of iterations which are wrong would cause.
var errDefect = errors.New("the simulation found a defect")

// network is the tiny network of one trainer: a trainer.Work.
type network struct {
	seed       uint64
	shards     int
	meta       checkpoint.Meta
	seen       func(what string, k uint32, digest uint64) error // after each change of the state; its error is the network's
	compute    func(part int)                                   // takes the time of a part of an iteration's work, and stands still with its process
	perEpoch   uint32
	applyTwice bool // mutants
	applyEarly bool
	noMomentum bool

	state      *state
	applied    uint32
	first, end int
	digests    []string
	grads      [len(sizes)][][]float32 // [own shards][floats]
	sums       [len(sizes)][]float32
	metrics    [][]float32 // [own shards][slots * shards]
	sum        []float32   // of them
}

// Own implements trainer.Work.
func (n *network) Own(first, end int) error {
	n.first, n.end, n.digests, n.metrics = first, end, nil, nil
	for b, size := range sizes {
		n.grads[b], n.sums[b] = nil, make([]float32, size)
		for range end - first {
			n.grads[b] = append(n.grads[b], make([]float32, size))
		}
	}
	for range end - first {
		n.metrics = append(n.metrics, make([]float32, slots*n.shards))
	}
	n.sum = make([]float32, slots*n.shards)
	return nil
}

// Sampler implements trainer.Work.
func (n *network) Sampler() func(k uint32) []uint32 {
	seed, first, end := n.seed, n.first, n.end
	return func(k uint32) []uint32 { return samplesOf(seed, k, first, end) }
}

// Start implements trainer.Work.
func (n *network) Start([]byte) error {
	n.state, n.applied = newState(n.seed), 0
	return n.seen("start", 0, n.state.digest())
}

// Restore implements trainer.Work.
func (n *network) Restore(data []byte) (uint32, error) {
	c, err := checkpoint.Decode(data)
	if err != nil {
		return 0, fmt.Errorf("%w: a state that cannot be read: %v", errDefect, err)
	}
	s := newState(n.seed)
	for b, name := range names {
		for _, t := range c.Parameters {
			if t.Name == name {
				s.values[b] = t.Data
			}
		}
		for _, t := range c.Momentum {
			if t.Name == name && !n.noMomentum {
				s.momentum[b] = t.Data
			}
		}
	}
	n.state, n.applied = s, c.Meta.Iteration
	return n.applied, n.seen("restore", n.applied, s.digest())
}

// Snapshot implements trainer.Work.
func (n *network) Snapshot() (*checkpoint.Checkpoint, error) {
	s := n.state.clone()
	c := &checkpoint.Checkpoint{Meta: n.meta}
	c.Meta.Iteration = n.applied
	for b, name := range names {
		c.Parameters = append(c.Parameters, checkpoint.Tensor{Name: name, Shape: []int{sizes[b]}, Data: s.values[b]})
		if b < trainable {
			c.Momentum = append(c.Momentum, checkpoint.Tensor{Name: name, Shape: []int{sizes[b]}, Data: s.momentum[b]})
		}
	}
	return c, nil
}

// next holds that nothing is applied twice, nor left out.
func (n *network) next(k uint32) error {
	if n.state == nil || k != n.applied+1 {
		return fmt.Errorf("%w: iteration %d is to be applied to the state after %d", errDefect, k, n.applied)
	}
	return nil
}

// Iterate implements trainer.Work. Buckets go into the all-reduce one after another, the running statistic after the gradients, the metrics last.
func (n *network) Iterate(r *allreduce.Reducer, k uint32, soft []float32, wanted func() bool, record *ditherv1.IterationRecord) (stop bool, err error) {
	if err := n.next(k); err != nil {
		return false, err
	}
	own := n.end - n.first
	if len(soft) != own*perShard*classes {
		return false, fmt.Errorf("%w: %d soft labels came for %d shards", errDefect, len(soft), own)
	}
	n.digests = n.digests[:0]
	labels := func(shard int) []float32 { return soft[shard*perShard*classes : (shard+1)*perShard*classes] }
	for shard := range own {
		n.digests = append(n.digests, labelDigest(labels(shard)))
	}
	r.Begin(k)
	for b := range sizes {
		n.compute(b)
		for shard := range own {
			n.state.gradient(b, k, n.first+shard, labels(shard), n.grads[b][shard])
		}
		r.Start(uint32(b), n.grads[b])
	}
	losses := make([]float32, own)
	for shard := range own {
		losses[shard] = n.state.loss(k, n.first+shard, labels(shard))
	}
	waited := time.Now()
	broken := func(err error) (bool, error) { return false, fmt.Errorf("%w: %w", trainer.ErrBroken, err) }
	for b := range sizes {
		if err := r.Wait(uint32(b), n.sums[b]); err != nil {
			return broken(err)
		}
		if n.applyEarly {
			n.state.commit(b, k, n.sums[b])
		}
	}
	n.measure(losses, wanted())
	r.Start(uint32(len(sizes)), n.metrics)
	if err := r.Wait(uint32(len(sizes)), n.sum); err != nil {
		return broken(err)
	}
	stop = n.read(k, record)
	record.FirstShard, record.EndShard, record.ExchangeWaitSeconds = uint32(n.first), uint32(n.end), time.Since(waited).Seconds()
	n.compute(len(sizes))
	if !n.applyEarly {
		n.commit(k)
	}
	if n.applyTwice && mix(n.seed, uint64(k))%5 == 0 {
		n.commit(k)
	}
	n.applied = k
	return stop, n.seen("apply", k, n.state.digest())
}

func (n *network) commit(k uint32) {
	for b := range sizes {
		n.state.commit(b, k, n.sums[b])
	}
}

// measure fills the metrics of the owned shards.
func (n *network) measure(losses []float32, stop bool) {
	for shard, v := range n.metrics {
		clear(v)
		v = v[slots*(n.first+shard):]
		v[slotLoss], v[slotRight], v[slotSecond] = losses[shard], 1, 0.25
		if stop {
			v[slotStop] = 1
		}
		digest, _ := strconv.ParseUint(n.digests[shard], 16, 64)
		for i := range 4 {
			v[slotDigest+i] = float32(digest >> (16 * i) & 0xffff)
		}
	}
}

// read takes everybody's metrics into the record.
func (n *network) read(k uint32, record *ditherv1.IterationRecord) (stop bool) {
	record.Iteration, record.Lr = k, 0.125
	for shard := range n.shards {
		v := n.sum[slots*shard:]
		record.Loss += float64(v[slotLoss])
		record.Correct += uint32(v[slotRight])
		record.ShardSeconds = append(record.ShardSeconds, v[slotSecond])
		digest := uint64(0)
		for i := range 4 {
			digest |= uint64(v[slotDigest+i]) << (16 * i)
		}
		record.LabelDigests = append(record.LabelDigests, fmt.Sprintf("%016x", digest))
		stop = stop || v[slotStop] != 0
	}
	return stop
}

// Update implements trainer.Work.
func (n *network) Update() (*trainer.Update, error) {
	return &trainer.Update{Iteration: n.applied, LR: 0.125, Sums: slices.Concat(n.sums[:]...)}, nil
}

// ApplyUpdate implements trainer.Work.
func (n *network) ApplyUpdate(u *trainer.Update) error {
	if err := n.next(u.Iteration); err != nil {
		return err
	}
	at := 0
	for b, size := range sizes {
		n.sums[b] = slices.Clone(u.Sums[at : at+size])
		at += size
	}
	n.commit(u.Iteration)
	n.applied = u.Iteration
	return n.seen("follow", n.applied, n.state.digest())
}

// Digests implements trainer.Work.
func (n *network) Digests() []string { return slices.Clone(n.digests) }

// PerEpoch implements trainer.Work.
func (n *network) PerEpoch() uint32 { return n.perEpoch }

// Evaluate implements trainer.Work.
func (n *network) Evaluate(c trainer.Cut) ([]*ditherv1.Part, error) {
	from, to := testImages*c.Rank/c.Trainers, testImages*(c.Rank+1)/c.Trainers
	var values []float64
	for i := from; i < to; i++ {
		if err := n.image(c); err != nil {
			return nil, err
		}
		loss, right := n.state.judge(i)
		values = append(values, loss, right)
	}
	return []*ditherv1.Part{{Kind: ditherv1.PartKind_PART_KIND_TEST, Iteration: n.applied, First: uint32(from), Total: testImages, Values: ditherv1.Float64Tensor(values, int64(to-from), 2)}}, nil
}

// GradientNorm implements trainer.Work.
func (n *network) GradientNorm(images int, c trainer.Cut) (*ditherv1.Part, error) {
	from, to := images*c.Rank/c.Trainers, images*(c.Rank+1)/c.Trainers
	var values []float64
	for i := from; i < to; i++ {
		if err := n.image(c); err != nil {
			return nil, err
		}
		values = append(values, n.state.norm(i))
	}
	return &ditherv1.Part{Kind: ditherv1.PartKind_PART_KIND_GRADIENT_NORM, Iteration: n.applied, First: uint32(from), Total: uint32(images), Values: ditherv1.Float64Tensor(values, int64(to-from))}, nil
}

func (n *network) image(c trainer.Cut) error {
	n.compute(-1)
	return c.Between()
}

// parameters is the hash that a run with a state ends with.
func parameters(s *state) string {
	c := &checkpoint.Checkpoint{}
	for b, name := range names {
		c.Parameters = append(c.Parameters, checkpoint.Tensor{Name: name, Shape: []int{sizes[b]}, Data: s.values[b]})
	}
	return strings.TrimPrefix(c.Hash(), "sha256:")
}
