package trainer

import (
	"context"
	"errors"
	"fmt"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// step is what a trainer does next, between generations.
type step uint8

const (
	stepEnd    step = iota + 1 // Serve is over
	stepJoin                   // become known again
	stepEnter                  // take part in the generation in force
	stepFollow                 // keep level with the trainers of the generation in force
	stepWait                   // for news
)

// next decides, for a trainer that last took part in generation entered, what comes next; for stepEnd also why.
func next(n told, me *ditherv1.Member, entered uint64, said bool) (step, error) {
	_, named := rankOf(n.generation, me)
	switch {
	case n.over != nil:
		return stepEnd, errOver
	case n.expired:
		return stepEnd, ErrLeft
	case n.outcast && n.leaving != "":
		return stepEnd, ErrLeft
	case n.outcast:
		return stepJoin, nil
	case named && n.generation.GetNumber() > entered:
		return stepEnter, nil
	case said:
		return stepWait, nil
	case n.leaving != "":
		return stepEnd, ErrLeft
	case n.generation != nil && !named:
		return stepFollow, nil
	}
	return stepWait, nil
}

// loop does one step after another.
func (t *Trainer) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		n, changed := t.news.now()
		step, err := next(n, t.Member, t.entered, t.said != nil)
		switch step {
		case stepEnd:
			return t.goodbye(ctx, n, err)
		case stepJoin:
			t.Logger.Warn("the lease was lost; joining again")
			err = t.join(ctx)
		case stepEnter:
			err = t.takePart(ctx, n.generation)
		case stepFollow:
			err = t.keepLevel(ctx, n.generation)
		case stepWait:
			err = t.wait(ctx, changed)
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// wait is for news. Others can copy the state meanwhile.
func (t *Trainer) wait(ctx context.Context, changed <-chan struct{}) error {
	t.link.stands(func(at *ditherv1.Beat) {
		if at.Doing = "waiting for the others' last words"; t.said == nil {
			at.Generation, at.Doing = 0, "waiting for a generation"
		}
	})
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-changed:
			return nil
		case r := <-t.offer.requests:
			t.give(r)
		case <-look.C:
			if t.said != nil && t.link.alone() > farewell {
				t.Logger.Warn("no coordinator took this trainer's last word; its state is the run's last", "parameters_sha256", t.said.GetParametersSha256())
				if t.said.GetStopped() {
					return ErrStopped
				}
				return errDone
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errDone ends the loop where all is well.
var errDone = errors.New("done")

// goodbye ends the loop. Who was asked to go and may be the last to have the state has it saved first.
func (t *Trainer) goodbye(ctx context.Context, n told, why error) error {
	_, named := rankOf(n.generation, t.Member)
	if n.leaving == "" || n.expired || !named || t.said != nil || t.applied == 0 {
		return why
	}
	ctx, cancel := t.news.until(ctx, func(n told) error {
		if n.expired {
			return errExpired
		}
		return nil
	})
	defer cancel()
	if err := t.saveForRescue(ctx); err != nil {
		t.Logger.Warn("left without a checkpoint", "iteration", t.applied, "error", err)
	}
	return why
}

// stand tells others where the state is, once it has changed.
func (t *Trainer) stand(loss float64) {
	t.hasState = true
	t.link.stands(func(at *ditherv1.Beat) { at.Iteration, at.HasState, at.Loss = t.applied, true, loss })
}

// restored takes over a whole state. Who followed this trainer has a gap.
func (t *Trainer) restored(data []byte) error {
	k, err := t.Work.Restore(data)
	if err != nil {
		return err
	}
	t.applied = k
	t.offer.jump(k)
	t.stand(0)
	return nil
}

// begin takes the run's newest checkpoint, or its start: what one does where nobody has applied anything.
func (t *Trainer) begin(ctx context.Context) error {
	data, err := t.link.file(ctx, ditherv1.FileKind_FILE_KIND_CHECKPOINT)
	if err == nil {
		return t.restored(data)
	}
	if !errors.Is(err, ErrNoFile) || t.hasState {
		if errors.Is(err, ErrNoFile) {
			return nil
		}
		return err
	}
	var file []byte
	switch t.Run.GetSpec().GetInit().GetKind() {
	case "teacher":
		file, err = t.link.file(ctx, ditherv1.FileKind_FILE_KIND_TEACHER)
	case "file":
		file, err = t.link.file(ctx, ditherv1.FileKind_FILE_KIND_INIT)
	default:
		err = nil
	}
	if err != nil {
		return fmt.Errorf("the start of the run: %w", err)
	}
	if err := t.Work.Start(file); err != nil {
		return err
	}
	t.applied = 0
	t.offer.jump(0)
	t.stand(0)
	return nil
}
