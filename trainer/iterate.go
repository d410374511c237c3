package trainer

import (
	"context"
	"errors"
	"fmt"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// iterate does what is due where the generation begins, and one iteration after another. Its error says how the generation ended.
func (t *Trainer) iterate(ctx context.Context, g *generation) (err error) {
	broken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // ends the iteration in flight
		defer close(broken)
		g.reducer.Abort(context.Cause(ctx))
	})
	defer func() {
		if !stop() {
			<-broken
		}
		t.end(g, err)
	}()
	last := t.Run.GetSpec().GetIterations()
	if t.applied > 0 {
		// Somebody may have been lost before it was done. Doing it twice changes nothing.
		if err := t.due(ctx, g); err != nil {
			return err
		}
		if after := t.Run.GetOptions().GetStopAfter(); after > 0 && t.applied >= after && t.applied < last {
			return t.stopped(ctx, g)
		}
	}
	if t.Labels != nil && t.applied < last {
		t.Labels.Begin(t.applied+1, last, t.Work.Sampler())
	}
	t.link.stands(func(at *ditherv1.Beat) { at.Doing = "training" })
	for t.applied < last {
		if err := t.between(ctx, g); err != nil {
			return err
		}
		stopping, err := t.iteration(ctx, g)
		if err != nil {
			return err
		}
		if stopping && t.applied < last {
			return t.stopped(ctx, g)
		}
		if err := t.due(ctx, g); err != nil {
			return err
		}
	}
	return errEnded
}

// between looks round between two iterations: others may want the state, and another generation may be planned.
func (t *Trainer) between(ctx context.Context, g *generation) error {
	t.serve()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	n, _ := t.news.now()
	if n.supersedes(g.GetNumber()) != nil || n.leaving != "" && len(g.GetTrainers()) == 1 {
		return errEnded // and the loop knows what is next
	}
	return nil
}

// iteration does the next one. Nothing has changed where it fails.
func (t *Trainer) iteration(ctx context.Context, g *generation) (stop bool, err error) {
	k := t.applied + 1
	began := time.Now()
	var soft []float32
	if t.Labels != nil {
		if soft, err = t.Labels.Take(ctx, k); err != nil {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			return false, &ownError{err}
		}
	}
	waited := time.Since(began)
	g.flying = k
	enough := k == t.Run.GetOptions().GetStopAfter()
	record := &ditherv1.IterationRecord{Generation: g.GetNumber()} // the link keeps it
	stop, err = t.Work.Iterate(g.reducer, k, soft, func() bool { return enough || t.stopWanted() }, record)
	switch {
	case errors.Is(err, ErrBroken) && ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, ErrBroken):
		return false, err
	case err != nil:
		return false, &ownError{err}
	}
	t.applied = k
	if err := t.offer.publish(k, t.Work.Update); err != nil {
		return false, &ownError{fmt.Errorf("giving the update of iteration %d: %w", k, err)}
	}
	t.seconds = time.Since(began)
	record.Seconds, record.LabelWaitSeconds = t.seconds.Seconds(), waited.Seconds()
	t.link.change(func() { t.link.out.record(record) })
	t.stand(record.GetLoss())
	return stop, nil
}

func (t *Trainer) stopWanted() bool {
	n, _ := t.news.now()
	return n.stop != ""
}

// due is what follows an iteration: a checkpoint, an evaluation, after the last one the end. None touches the bits, and each can be done again.
func (t *Trainer) due(ctx context.Context, g *generation) error {
	k, o := t.applied, t.Run.GetOptions()
	if k == t.Run.GetSpec().GetIterations() {
		return t.finish(ctx, g)
	}
	if every := o.GetCheckpointEvery(); every > 0 && k%every == 0 && g.rank == 0 {
		if err := t.checkpoint(); err != nil {
			return err
		}
	}
	if every := o.GetEvalEvery() * t.Work.PerEpoch(); every > 0 && k%every == 0 {
		return t.evaluate(ctx, g)
	}
	return nil
}

// checkpoint lets the state be written, when there is a coordinator; training goes on.
func (t *Trainer) checkpoint() error {
	c, err := t.snapshot()
	if err != nil {
		return err
	}
	t.link.save(c)
	return nil
}

// snapshot copies the state.
func (t *Trainer) snapshot() (*checkpoint.Checkpoint, error) {
	c, err := t.Work.Snapshot()
	if err != nil {
		return nil, &ownError{fmt.Errorf("copying the state after iteration %d: %w", t.applied, err)}
	}
	return c, nil
}

// cut is this trainer's part of an evaluation. A generation that is over ends it, and others can copy the state meanwhile.
func (t *Trainer) cut(ctx context.Context, g *generation) Cut {
	return Cut{Rank: g.rank, Trainers: len(g.GetTrainers()), Between: func() error {
		t.serve()
		return context.Cause(ctx)
	}}
}

// evaluate computes this trainer's part of the test and validation results, and says it.
func (t *Trainer) evaluate(ctx context.Context, g *generation) error {
	t.link.stands(func(at *ditherv1.Beat) { at.Doing = "evaluating" })
	parts, err := t.Work.Evaluate(t.cut(ctx, g))
	if err != nil {
		return t.cutShort(ctx, err)
	}
	t.link.change(func() {
		for _, p := range parts {
			t.link.out.part(p)
		}
	})
	t.link.stands(func(at *ditherv1.Beat) { at.Doing = "training" })
	return nil
}

// cutShort is the error of an evaluation: the generation's end, or the trainer's own.
func (t *Trainer) cutShort(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &ownError{fmt.Errorf("evaluating after iteration %d: %w", t.applied, err)}
}

// finish writes the last checkpoint, evaluates, measures the gradient norm, and says the last word.
func (t *Trainer) finish(ctx context.Context, g *generation) error {
	if g.rank == 0 {
		if err := t.checkpoint(); err != nil {
			return err
		}
	}
	if err := t.evaluate(ctx, g); err != nil {
		return err
	}
	if images := int(t.Run.GetOptions().GetGradientNormImages()); images > 0 {
		t.link.stands(func(at *ditherv1.Beat) { at.Doing = "measuring the gradient norm" })
		part, err := t.Work.GradientNorm(images, t.cut(ctx, g))
		if err != nil {
			return t.cutShort(ctx, err)
		}
		t.link.change(func() { t.link.out.part(part) })
	}
	return t.lastWord(ctx, g, false)
}

// stopped ends the run before its last iteration, with a checkpoint.
func (t *Trainer) stopped(ctx context.Context, g *generation) error {
	n, _ := t.news.now()
	t.Logger.Info("stopping after this iteration", "iteration", t.applied, "reason", n.stop)
	if g.rank == 0 {
		if err := t.checkpoint(); err != nil {
			return err
		}
	}
	return t.lastWord(ctx, g, true)
}

// lastWord tells the coordinator which parameters this trainer ends with, once the last checkpoint is written.
func (t *Trainer) lastWord(ctx context.Context, g *generation, stopped bool) error {
	c, err := t.snapshot()
	if err != nil {
		return err
	}
	if g.rank == 0 {
		if err := t.link.saved(ctx, t.applied); err != nil {
			return err
		}
	}
	t.said = &ditherv1.Finished{Iteration: t.applied, ParametersSha256: Hex(c.Hash()), Stopped: stopped}
	t.link.change(func() {
		t.link.out.finished = letterOf(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Finished{Finished: t.said}})
	})
	return errEnded
}
