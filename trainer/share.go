package trainer

import (
	"cmp"
	"fmt"
	"time"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

// Share is some shards of every iteration of a run, with all that it takes to compute them, and the state: a trainer without its peers. It is the Work of a run.
type Share struct {
	sets       []kernel.Set
	spec       *ditherv1.RunSpec
	version    string // of the binary, for checkpoints
	data       *dataloader.Set
	first, end int
	network    model.Spec
	training   []uint32 // sample ids that are trained on
	validation []uint32
	order      *dataloader.Order
	program    *program.Team
	applied    uint32 // iterations
	clock      clocked

	// Of one iteration, reused.
	samples []uint32
	sent    uint32      // the iteration whose samples the program was sent last; 0: none, or of shards that are not owned now
	flying  uint32      // the iteration of the Step under way
	digests []string    // of the soft labels by owned shard; none where there are none
	metrics [][]float32 // [shards owned][slots*S]
	sum     []float32   // [slots*S]
}

var _ Work = (*Share)(nil)

// NewShare prepares shards [first, end) of a run on its data, on one kernel set or several alike, which compute side by side; the state is yet to be set. version is the binary's, for checkpoints.
func NewShare(sets []kernel.Set, data *dataloader.Set, spec *ditherv1.RunSpec, version string, first, end int) (*Share, error) {
	d := spec.GetDataset()
	s := &Share{sets: sets, spec: spec, version: version, data: data, network: ModelSpec(spec.GetModel(), d), sum: make([]float32, slots*spec.GetShards())}
	s.training, s.validation = dataloader.Split(spec.GetSeed(), data.Train.N(), d.GetValidation())
	var err error
	if s.order, err = dataloader.NewOrder(spec.GetSeed(), s.training, int(spec.GetBatch())); err != nil {
		return nil, err
	}
	return s, s.Own(first, end)
}

// Own implements Work. The network is lowered anew only where the number of shards is another; that takes some tens of milliseconds.
func (s *Share) Own(first, end int) error {
	n := end - first
	if first != s.first || end != s.end {
		s.sent = 0
	}
	if s.program != nil && n == s.end-s.first {
		s.first, s.end = first, end
		return nil
	}
	p, err := s.successor(n)
	if err != nil {
		return err
	}
	s.program, s.first, s.end, s.digests, s.metrics = p, first, end, nil, nil
	for range n {
		s.metrics = append(s.metrics, make([]float32, len(s.sum)))
	}
	return nil
}

// Close lets the memory go.
func (s *Share) Close() {
	if s.program != nil {
		s.program.Close()
	}
}

// Program is what computes the first shards: all of them where there is one kernel set. Its parameters are the run's.
func (s *Share) Program() *program.Training { return s.program.First() }

// FLOPs of an iteration, on all kernel sets together.
func (s *Share) FLOPs() float64 { return s.program.FLOPs() }

// PerEpoch implements Work.
func (s *Share) PerEpoch() uint32 { return uint32(s.order.PerEpoch()) }

func (s *Share) perShard() int { return int(s.spec.GetBatch() / s.spec.GetShards()) }

func (s *Share) imageBytes() int { return s.data.Channels * s.data.Height * s.data.Width }

// Sampler implements Work.
func (s *Share) Sampler() func(k uint32) []uint32 {
	order, from, to := s.order, s.first*s.perShard(), s.end*s.perShard()
	return func(k uint32) []uint32 { return order.Batch(k, nil)[from:to] }
}

// clocked measures how long a step waits for others.
type clocked struct {
	*allreduce.Reducer
	waited time.Duration
	broke  error // the first failure of a Wait
}

func (c *clocked) Wait(id uint32, sum []float32) error {
	began := time.Now()
	err := c.Reducer.Wait(id, sum)
	c.waited += time.Since(began)
	if err != nil {
		c.broke = cmp.Or(c.broke, fmt.Errorf("%w: %w", ErrBroken, err))
		return c.broke
	}
	return nil
}

// Iterate implements Work. wanted may be nil: it never wants. An iteration that is not the one after the last applied is a broken invariant, and panics.
func (s *Share) Iterate(r *allreduce.Reducer, k uint32, soft []float32, wanted func() bool, record *ditherv1.IterationRecord) (stop bool, err error) {
	s.next(k)
	began := time.Now()
	s.digest(soft)
	if err := s.input(k, soft); err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	r.Begin(k)
	c := &s.clock
	*c = clocked{Reducer: r}
	losses, correct, err := s.program.Step(c)
	if err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	computing := time.Since(began) - c.waited
	if err := s.exchangeMetrics(c, losses, correct, computing, wanted != nil && wanted()); err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	if stop, err = judge(s.sum, s.spec.GetOptimizer(), k, len(s.digests) > 0, record); err != nil {
		return false, err
	}
	s.next(k)
	if err := s.program.Commit(record.GetLr()); err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	s.applied = k
	record.FirstShard, record.EndShard, record.ExchangeWaitSeconds = uint32(s.first), uint32(s.end), c.waited.Seconds()
	return stop, nil
}

// next holds that nothing is applied twice, nor left out.
func (s *Share) next(k uint32) {
	if k != s.applied+1 {
		panic(fmt.Sprintf("trainer: iteration %d is to be applied to the state after %d", k, s.applied))
	}
}

// input gives the program iteration k's samples, unless they were sent ahead, and their noisy soft labels.
func (s *Share) input(k uint32, soft []float32) error {
	if s.sent != k {
		if err := s.send(k); err != nil {
			return err
		}
	}
	s.sent, s.flying = 0, k // a redo sends them again
	return s.program.SendSoft(soft)
}

// ahead sends the samples of the iteration after the one under way. What goes wrong with them is told when that comes.
func (s *Share) ahead() {
	if s.flying < s.spec.GetIterations() {
		_ = s.send(s.flying + 1)
	}
}

// send puts the samples' pixels, views and labels side by side, and has them on their way.
func (s *Share) send(k uint32) error {
	s.samples = s.order.Batch(k, s.samples)
	ids, size := s.samples[s.first*s.perShard():s.end*s.perShard()], s.imageBytes()
	for _, to := range s.program.Rooms() {
		for i, id := range ids[:len(to.Labels)] {
			copy(to.Pixels[i*size:(i+1)*size], s.data.Train.Pixels[int(id)*size:])
			g := dataloader.View(s.spec.GetSeed(), s.order.Epoch(k), id, s.spec.GetAugment() == "standard", s.data.Flip, Pad)
			to.Geometry[3*i], to.Geometry[3*i+1], to.Geometry[3*i+2] = g.DY, g.DX, g.Flip
			to.Labels[i] = s.data.Train.Labels[id]
		}
		ids = ids[len(to.Labels):]
	}
	if err := s.program.Send(); err != nil {
		return fmt.Errorf("the samples of iteration %d: %w", k, err)
	}
	s.sent = k
	return nil
}

// digest takes the digests of the soft labels [n][classes] by shard.
func (s *Share) digest(soft []float32) {
	s.digests = s.digests[:0]
	if soft == nil {
		return
	}
	for n := len(soft) / (s.end - s.first); len(soft) > 0; soft = soft[n:] {
		s.digests = append(s.digests, digest(soft[:n]))
	}
}

// Digests implements Work.
func (s *Share) Digests() []string { return s.digests }

// exchangeMetrics sums the metrics vectors over all shards, as the last collective of the iteration.
func (s *Share) exchangeMetrics(c *clocked, losses, correct []float32, computing time.Duration, wanted bool) error {
	each := float32(computing.Seconds() / float64(s.end-s.first))
	for g, v := range s.metrics {
		clear(v)
		m := shardMetrics{loss: losses[g], correct: correct[g], seconds: each, stop: wanted}
		if len(s.digests) > 0 {
			m.digest = s.digests[g]
		}
		m.write(v[slots*(s.first+g):])
	}
	id := s.program.Collectives()
	c.Start(id, s.metrics)
	return c.Wait(id, s.sum)
}

// Update implements Work.
func (s *Share) Update() (*Update, error) {
	u := &Update{Iteration: s.applied, LR: LearningRate(s.spec.GetOptimizer(), s.applied), Sums: make([]float32, s.program.SumFloats())}
	return u, s.program.Sums(u.Sums)
}

// ApplyUpdate implements Work.
func (s *Share) ApplyUpdate(u *Update) error {
	s.next(u.Iteration)
	if want := LearningRate(s.spec.GetOptimizer(), u.Iteration); u.LR != want {
		return fmt.Errorf("the update of iteration %d was applied with the learning rate %v there, and the spec says %v", u.Iteration, u.LR, want)
	}
	if err := s.program.CommitSums(u.Sums, u.LR); err != nil {
		return fmt.Errorf("applying the update of iteration %d: %w", u.Iteration, err)
	}
	s.applied = u.Iteration
	return nil
}
