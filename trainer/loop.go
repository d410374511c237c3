package trainer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
)

// Slots of the metrics vector, one of each for every shard of the run: a shard fills its own and leaves the others zero, so that the sum
// over shards carries all of them to every trainer, exactly.
const (
	slotLoss    = 0 // its part of the loss
	slotCorrect = 1 // its images classified as the data set's label says
	slotStop    = 2 // 1 if its trainer wants the run to stop after this iteration
	slots       = 3
)

// iteration is the buffers of one iteration's input, reused.
type iteration struct {
	samples  []uint32
	pixels   []byte
	geometry []int32
	labels   []int32
	metrics  [][]float32 // [shards owned][slots*S]
	sum      []float32   // [slots*S]
}

// train goes through the iterations after applied, then evaluates and says its last word.
func (t *Trainer) train(ctx context.Context, reducer *allreduce.Reducer, applied uint32) error {
	spec := t.Run.GetSpec()
	last := spec.GetIterations()
	first, end := int(t.me.GetFirstShard()), int(t.me.GetEndShard())
	perShard := int(spec.GetBatch() / spec.GetShards())
	mine := func(k uint32, dst []uint32) []uint32 {
		return append(dst[:0], t.order.Batch(k, nil)[first*perShard:end*perShard]...)
	}
	conn, err := t.teacher()
	if err != nil {
		return t.failed(applied, err)
	}
	var soft *labeler
	if conn != nil {
		defer conn.Close()
		soft = newLabeler(ctx, t.Run, conn, mine, applied+1, last)
		defer soft.close()
	}
	it := t.newIteration()
	for k := applied + 1; k <= last; k++ {
		began := time.Now()
		it.samples = mine(k, it.samples)
		t.gather(it, k)
		var values []float32
		if soft != nil {
			if values, err = soft.take(k); err != nil {
				return t.failed(applied, err)
			}
		}
		waited := time.Since(began)
		if err := t.program.Input(it.pixels, it.geometry, it.labels, values); err != nil {
			return t.failed(applied, err)
		}
		reducer.Begin(k)
		losses, correct, err := t.program.Step(reducer)
		if err != nil {
			return t.failed(applied, fmt.Errorf("iteration %d: %w", k, err))
		}
		exchange := time.Now()
		if err := t.exchangeMetrics(reducer, it, losses, correct, k == t.Run.GetOptions().GetStopAfter()); err != nil {
			return t.failed(applied, fmt.Errorf("iteration %d: %w", k, err))
		}
		exchanged := time.Since(exchange)
		record, stop, err := t.judge(it.sum, k)
		if err != nil {
			return t.failed(applied, err)
		}
		if err := t.program.Commit(record.GetLr()); err != nil {
			return t.failed(applied, fmt.Errorf("iteration %d: %w", k, err))
		}
		applied = k
		record.FirstShard, record.EndShard = t.me.GetFirstShard(), t.me.GetEndShard()
		record.Seconds, record.LabelWaitSeconds, record.ExchangeWaitSeconds = time.Since(began).Seconds(), waited.Seconds(), exchanged.Seconds()
		for g := range end - first {
			if n := perShard * int(spec.GetDataset().GetClasses()); values != nil {
				record.LabelDigests = append(record.LabelDigests, digest(values[g*n:(g+1)*n]))
			}
		}
		if err := t.reporter.iteration(record); err != nil {
			return err
		}
		t.serveRequests(applied)
		if stop && k < last {
			return t.stopped(ctx, applied)
		}
		if err := t.interlude(ctx, k, last); err != nil {
			return t.failed(applied, err)
		}
	}
	return t.finish(ctx, applied)
}

// interlude is what is due between two iterations: a checkpoint, an evaluation. Neither touches the bits.
func (t *Trainer) interlude(ctx context.Context, k, last uint32) error {
	o := t.Run.GetOptions()
	if every := o.GetCheckpointEvery(); every > 0 && k%every == 0 && k < last && t.rank == 0 {
		if err := t.putCheckpoint(ctx, k); err != nil {
			return err
		}
	}
	per := uint32(t.order.PerEpoch())
	if every := o.GetEvalEvery() * per; every > 0 && k%every == 0 && k < last {
		return t.evaluate(k)
	}
	return nil
}

func (t *Trainer) newIteration() *iteration {
	spec := t.Run.GetSpec()
	owned := int(t.me.GetEndShard() - t.me.GetFirstShard())
	n := owned * int(spec.GetBatch()/spec.GetShards())
	it := &iteration{pixels: make([]byte, n*t.imageBytes()), geometry: make([]int32, 3*n), labels: make([]int32, n), sum: make([]float32, slots*spec.GetShards())}
	for range owned {
		it.metrics = append(it.metrics, make([]float32, slots*spec.GetShards()))
	}
	return it
}

func (t *Trainer) imageBytes() int { return t.Data.Channels * t.Data.Height * t.Data.Width }

// gather puts the samples' pixels, views and labels side by side.
func (t *Trainer) gather(it *iteration, k uint32) {
	spec, size := t.Run.GetSpec(), t.imageBytes()
	for i, s := range it.samples {
		copy(it.pixels[i*size:(i+1)*size], t.Data.Train.Pixels[int(s)*size:])
		g := dataloader.View(spec.GetSeed(), t.order.Epoch(k), s, spec.GetAugment() == "standard", t.Data.Flip, Pad)
		it.geometry[3*i], it.geometry[3*i+1], it.geometry[3*i+2] = g.DY, g.DX, g.Flip
		it.labels[i] = t.Data.Train.Labels[s]
	}
}

// exchangeMetrics sums the metrics vectors over all shards, as the last collective of the iteration.
func (t *Trainer) exchangeMetrics(reducer *allreduce.Reducer, it *iteration, losses, correct []float32, enough bool) error {
	stop := float32(0)
	if enough || t.wantsStop() {
		stop = 1
	}
	for g, v := range it.metrics {
		clear(v)
		own := slots * (int(t.me.GetFirstShard()) + g)
		v[own+slotLoss], v[own+slotCorrect], v[own+slotStop] = losses[g], correct[g], stop
	}
	id := t.program.Collectives()
	reducer.Start(id, it.metrics)
	return reducer.Wait(id, it.sum)
}

func (t *Trainer) wantsStop() bool {
	select {
	case <-t.drained:
		t.stopping.Store(true)
	case why := <-t.reporter.stop:
		t.Logger.Info("stopping after this iteration", "reason", why)
		t.stopping.Store(true)
	default:
	}
	return t.stopping.Load()
}

// judge reads the summed metrics: what the iteration's record says, whether to stop, and an error if a shard's loss is not finite.
func (t *Trainer) judge(sum []float32, k uint32) (record *ditherv1.IterationRecord, stop bool, err error) {
	record = &ditherv1.IterationRecord{Iteration: k, Lr: LearningRate(t.Run.GetSpec().GetOptimizer(), k)}
	for s := range int(t.Run.GetSpec().GetShards()) {
		loss := sum[slots*s+slotLoss]
		if loss-loss != 0 {
			return nil, false, fmt.Errorf("%w: it is %v at iteration %d in shard %d, before the update; lower --lr (now %.6g) or lengthen --warmup; the state after iteration %d is kept",
				ErrDiverged, loss, k, s, record.Lr, k-1)
		}
		record.Loss += float64(loss)
		record.Correct += uint32(sum[slots*s+slotCorrect])
		stop = stop || sum[slots*s+slotStop] != 0
	}
	return record, stop, nil
}

// stopped ends the run before its last iteration, with a checkpoint.
func (t *Trainer) stopped(ctx context.Context, applied uint32) error {
	if t.rank == 0 {
		if err := t.putCheckpoint(ctx, applied); err != nil {
			return t.failed(applied, err)
		}
	}
	if err := t.lastWord(applied, true); err != nil {
		return err
	}
	return ErrStopped
}

// finish writes the last checkpoint, evaluates, measures the gradient norm, and says the last word.
func (t *Trainer) finish(ctx context.Context, applied uint32) error {
	if t.rank == 0 {
		if err := t.putCheckpoint(ctx, applied); err != nil {
			return t.failed(applied, err)
		}
	}
	if err := t.evaluate(applied); err != nil {
		return t.failed(applied, err)
	}
	if err := t.gradientNorm(applied); err != nil {
		return t.failed(applied, err)
	}
	return t.lastWord(applied, false)
}

// failed tells the coordinator why this trainer gives up, after saving the last applied state, and returns the reason.
func (t *Trainer) failed(applied uint32, why error) error {
	if applied > 0 && t.program != nil {
		if err := t.saveForRescue(applied); err != nil {
			t.Logger.Warn("the state after the last applied iteration could not be saved", "iteration", applied, "error", err)
		}
	}
	_ = t.reporter.failure(&ditherv1.Failure{Message: ditherv1.Message(why), Iteration: applied, Deterministic: errors.Is(why, ErrDiverged)})
	return why
}

// serveRequests runs what other goroutines want to do with the state while it is whole.
func (t *Trainer) serveRequests(applied uint32) {
	for {
		select {
		case f := <-t.requests:
			f(applied)
		default:
			return
		}
	}
}
