package trainer

import (
	"fmt"
	"time"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

// Slots of the metrics vector, one of each for every shard of the run: a shard fills its own and leaves the others zero, so that the sum
// over shards carries all of them to every trainer, exactly.
const (
	slotLoss    = 0 // its part of the loss
	slotCorrect = 1 // its images classified as the data set's label says
	slotStop    = 2 // 1 if its trainer wants the run to stop after this iteration
	slots       = 3
)

// Share is the shards [first, end) of every iteration of a run, with all that it takes to compute them: a trainer without its peers. It is for
// one goroutine.
type Share struct {
	spec       *ditherv1.RunSpec
	data       *dataloader.Set
	first, end int
	network    model.Spec
	training   []uint32 // sample ids that are trained on
	validation []uint32
	order      *dataloader.Order
	program    *program.Training

	// The input of one iteration, reused.
	samples  []uint32
	pixels   []byte
	geometry []int32
	labels   []int32
	metrics  [][]float32 // [shards owned][slots*S]
	sum      []float32   // [slots*S]
}

// NewShare prepares shards [first, end) of a run on its data; the parameters are yet to be set.
func NewShare(set kernel.Set, data *dataloader.Set, spec *ditherv1.RunSpec, first, end int) (*Share, error) {
	d, l, o := spec.GetDataset(), spec.GetLoss(), spec.GetOptimizer()
	s := &Share{spec: spec, data: data, first: first, end: end, network: ModelSpec(spec.GetModel(), d)}
	s.training, s.validation = dataloader.Split(spec.GetSeed(), data.Train.N(), d.GetValidation())
	var err error
	if s.order, err = dataloader.NewOrder(spec.GetSeed(), s.training, int(spec.GetBatch())); err != nil {
		return nil, err
	}
	if s.program, err = program.NewTraining(set, program.TrainingConfig{Model: s.network, Groups: end - first, Images: s.perShard(), Batch: int(spec.GetBatch()), Shards: int(spec.GetShards()),
		Loss:      model.Loss{Quadratic: l.GetQuadratic(), KD: l.GetKd(), CE: l.GetCe(), Temperature: l.GetTemperature()},
		BatchNorm: spec.GetBatchnorm(), Momentum: o.GetMomentum(), WeightDecay: o.GetWeightDecay(), Mean: d.GetMean(), Std: d.GetStd(), Pad: Pad}); err != nil {
		return nil, err
	}
	n := (end - first) * s.perShard()
	s.pixels, s.geometry, s.labels = make([]byte, n*s.imageBytes()), make([]int32, 3*n), make([]int32, n)
	s.sum = make([]float32, slots*spec.GetShards())
	for range end - first {
		s.metrics = append(s.metrics, make([]float32, len(s.sum)))
	}
	return s, nil
}

// Close lets the memory go.
func (s *Share) Close() { s.program.Close() }

// Program is what computes; its parameters are the run's.
func (s *Share) Program() *program.Training { return s.program }

func (s *Share) perShard() int { return int(s.spec.GetBatch() / s.spec.GetShards()) }

func (s *Share) imageBytes() int { return s.data.Channels * s.data.Height * s.data.Width }

// Samples writes the sample ids of these shards at iteration k, from 1, into dst's memory and returns them, in the order of the shards.
func (s *Share) Samples(k uint32, dst []uint32) []uint32 {
	dst = s.order.Batch(k, dst)
	n := copy(dst, dst[s.first*s.perShard():s.end*s.perShard()])
	return dst[:n]
}

// Iterate does iteration k, from 1: forward, backward, the sums over all shards by r, and the update. soft is the noisy soft labels of Samples(k)
// [n][classes], nil where no loss takes them. wanted, asked once the gradients are there, says whether this trainer wants the run to stop, and
// stop whether any does; nil never wants. What came of it is written to record, which is empty. Where a loss is not finite the error wraps ErrDiverged, and nothing has changed.
func (s *Share) Iterate(r *allreduce.Reducer, k uint32, soft []float32, wanted func() bool, record *ditherv1.IterationRecord) (stop bool, err error) {
	s.gather(k)
	if err := s.program.Input(s.pixels, s.geometry, s.labels, soft); err != nil {
		return false, err
	}
	r.Begin(k)
	losses, correct, err := s.program.Step(r)
	if err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	exchange := time.Now()
	if err := s.exchangeMetrics(r, losses, correct, wanted != nil && wanted()); err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	exchanged := time.Since(exchange)
	if stop, err = s.judge(s.sum, k, record); err != nil {
		return false, err
	}
	if err := s.program.Commit(record.GetLr()); err != nil {
		return false, fmt.Errorf("iteration %d: %w", k, err)
	}
	record.FirstShard, record.EndShard, record.ExchangeWaitSeconds = uint32(s.first), uint32(s.end), exchanged.Seconds()
	if soft != nil {
		n := s.perShard() * s.network.Classes
		for g := range s.end - s.first {
			record.LabelDigests = append(record.LabelDigests, digest(soft[g*n:(g+1)*n]))
		}
	}
	return stop, nil
}

// gather puts the samples' pixels, views and labels side by side.
func (s *Share) gather(k uint32) {
	size := s.imageBytes()
	s.samples = s.Samples(k, s.samples)
	for i, id := range s.samples {
		copy(s.pixels[i*size:(i+1)*size], s.data.Train.Pixels[int(id)*size:])
		g := dataloader.View(s.spec.GetSeed(), s.order.Epoch(k), id, s.spec.GetAugment() == "standard", s.data.Flip, Pad)
		s.geometry[3*i], s.geometry[3*i+1], s.geometry[3*i+2] = g.DY, g.DX, g.Flip
		s.labels[i] = s.data.Train.Labels[id]
	}
}

// exchangeMetrics sums the metrics vectors over all shards, as the last collective of the iteration.
func (s *Share) exchangeMetrics(r *allreduce.Reducer, losses, correct []float32, wanted bool) error {
	stop := float32(0)
	if wanted {
		stop = 1
	}
	for g, v := range s.metrics {
		clear(v)
		own := slots * (s.first + g)
		v[own+slotLoss], v[own+slotCorrect], v[own+slotStop] = losses[g], correct[g], stop
	}
	id := s.program.Collectives()
	r.Start(id, s.metrics)
	return r.Wait(id, s.sum)
}

// judge reads the summed metrics: what the iteration's record says, which is empty, whether to stop, and an error if a shard's loss is not finite.
func (s *Share) judge(sum []float32, k uint32, record *ditherv1.IterationRecord) (stop bool, err error) {
	record.Iteration, record.Lr = k, LearningRate(s.spec.GetOptimizer(), k)
	for shard := range int(s.spec.GetShards()) {
		loss := sum[slots*shard+slotLoss]
		if loss-loss != 0 {
			return false, fmt.Errorf("%w: it is %v at iteration %d in shard %d, before the update; lower --lr (now %.6g) or lengthen --warmup; the state after iteration %d is kept",
				ErrDiverged, loss, k, shard, record.Lr, k-1)
		}
		record.Loss += float64(loss)
		record.Correct += uint32(sum[slots*shard+slotCorrect])
		stop = stop || sum[slots*shard+slotStop] != 0
	}
	return stop, nil
}
