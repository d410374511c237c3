package trainer

import (
	"context"
	"errors"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
)

// train goes through the iterations after applied, then evaluates and says its last word.
func (t *Trainer) train(ctx context.Context, reducer *allreduce.Reducer, applied uint32) error {
	last := t.spec.GetIterations()
	var soft *Labels
	if t.Run.GetSpec().GetTeacher() != nil {
		teachers := make(chan []*ditherv1.Member, 1)
		teachers <- t.generation.GetTeachers()
		soft = NewLabels(LabelsConfig{ID: t.ID, Run: t.Run, Teachers: teachers, Logger: t.Logger})
		defer soft.Close()
		soft.Begin(applied+1, last, func(k uint32) []uint32 { return t.Samples(k, nil) })
	}
	var err error
	for k := applied + 1; k <= last; k++ {
		began := time.Now()
		var values []float32
		if soft != nil {
			if values, err = soft.Take(ctx, k); err != nil {
				return t.failed(applied, err)
			}
		}
		waited := time.Since(began)
		enough := k == t.Run.GetOptions().GetStopAfter()
		record := &ditherv1.IterationRecord{} // the reporter keeps it
		stop, err := t.Iterate(reducer, k, values, func() bool { return enough || t.wantsStop() }, record)
		if err != nil {
			return t.failed(applied, err)
		}
		applied = k
		record.Seconds, record.LabelWaitSeconds = time.Since(began).Seconds(), waited.Seconds()
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
	if applied > 0 {
		if err := t.saveForRescue(applied); err != nil {
			t.Logger.Warn("the state after the last applied iteration could not be saved", "iteration", applied, "error", err)
		}
	}
	_ = t.reporter.failure(&ditherv1.Failure{Message: ditherv1.Message(why), Iteration: applied, Deterministic: errors.Is(why, ErrDiverged) || errors.Is(why, ErrLabels)})
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
