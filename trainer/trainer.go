// Package trainer computes shards of a run: it joins, takes part in one generation after another, and for each iteration puts its shards through the
// network, all-reduces the gradients with the other trainers, and commits. docs/consistency.md says what holds whoever comes and goes.
package trainer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	defaultGrace   = 20 * time.Second
	defaultSilence = 2 * time.Second
	beatsInSilence = 4
	// farewell is how long one that has said its last word looks for a coordinator that takes it.
	farewell = 60 * time.Second
	// rescue is how long one that gives up tries to have its state saved and its reason heard.
	rescue = 10 * time.Second
)

// MaxMessage is the largest message of the teacher-logit service in bytes: labels of a shard range, or a piece of a file.
const MaxMessage = 256 << 20

// Pad is the padding of the standard augmentation in pixels (He et al. 2016).
const Pad = 4

// Trainer is one process of a run. Its loop is one goroutine, which alone touches the Work; others tell it news, and ask it for its state.
type Trainer struct {
	Config
	silence time.Duration
	news    *news
	link    *link
	offer   *offer

	// Of the loop's goroutine.
	entered  uint64             // the last generation that it took part in, or tried to
	hasState bool               //
	applied  uint32             // iterations of the state
	seconds  time.Duration      // of the last iteration
	source   *source            // whose updates it follows; nil: nobody's
	turns    int                // tries to follow somebody: each begins with another one
	said     *ditherv1.Finished // its last word; nil: not yet
}

// New makes a trainer; Serve runs it. An error names what here is not the run's.
func New(c Config) (*Trainer, error) {
	if err := checks(c.Run, c.Member); err != nil {
		return nil, err
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	t := &Trainer{Config: c, news: newNews(), silence: time.Duration(c.Run.GetSilenceMs()) * time.Millisecond}
	if t.silence == 0 {
		t.silence = defaultSilence
	}
	t.link = newLink(&t.Config, t.news, t.silence/beatsInSilence)
	t.offer = newOffer()
	return t, nil
}

// checks refuses what is not the run's, naming the difference.
func checks(run *ditherv1.GetRunResponse, me *ditherv1.Member) error {
	spec, d := run.GetSpec(), run.GetSpec().GetDataset()
	switch {
	case ditherv1.Hash(spec) != run.GetSpecSha256():
		return fmt.Errorf("%w: the coordinator's spec has the hash %.12s here and %.12s there: this trainer is version %s and the coordinator %s; use one version",
			ErrRefused, ditherv1.Hash(spec), run.GetSpecSha256(), me.GetVersion(), run.GetVersion())
	case me.GetArithmetic() != spec.GetArithmetic():
		return fmt.Errorf("%w: the run is in arithmetic %s and kernel set %s computes in %s; %s", ErrRefused, spec.GetArithmetic(), me.GetKernelSet(), me.GetArithmetic(),
			ditherv1.OtherKernels(me.GetArithmetic(), spec.GetArithmetic()))
	case me.GetTrainSha256() != d.GetTrainSha256():
		return fmt.Errorf("%w: the %s training images here are not the run's (sha256 %.12s, not %.12s); give --data the same files on every host", ErrRefused, d.GetName(), me.GetTrainSha256(), d.GetTrainSha256())
	case me.GetTestSha256() != d.GetTestSha256():
		return fmt.Errorf("%w: the %s test images here are not the run's (sha256 %.12s, not %.12s); give --data the same files on every host", ErrRefused, d.GetName(), me.GetTestSha256(), d.GetTestSha256())
	}
	return nil
}

// Serve takes part in the run until it is over: nil where it ended as it should; ErrStopped, ErrLeft (drain was closed), ErrOver, ErrRefused, ErrDiverged, or a reason in words. ctx ends everything at once.
func (t *Trainer) Serve(ctx context.Context, drain <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	defer t.offer.close()
	all.Go(func() { t.awaitDrain(ctx, drain) })
	if err := t.join(ctx); err != nil {
		return t.ending(err)
	}
	defer func() { // the others need not wait for the lease to end
		if err := t.Members.Leave(context.WithoutCancel(ctx)); err != nil {
			t.Logger.Warn("the place in the run was not given back", "error", err)
		}
	}()
	all.Go(func() { t.link.run(ctx) })
	all.Go(func() { t.link.upload(ctx) })
	all.Go(func() {
		for g := range t.Members.Generations(ctx) {
			t.news.update(func(n *told) { n.generation = g })
		}
	})
	defer t.unfollow()
	err := t.ending(t.loop(ctx))
	t.part(ctx, err)
	return err
}

// awaitDrain tells that this trainer is to go, and when it has waited long enough.
func (t *Trainer) awaitDrain(ctx context.Context, drain <-chan struct{}) {
	select {
	case <-drain:
	case <-ctx.Done():
		return
	}
	const why = "asked to leave"
	t.Logger.Info("leaving", "reason", why)
	t.link.change(func() {
		t.link.out.leaving = letterOf(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Leaving{Leaving: &ditherv1.Leaving{Reason: why}}})
	})
	t.news.update(func(n *told) { n.leaving = why })
	select {
	case <-time.After(t.Grace):
		t.news.update(func(n *told) { n.expired = true })
	case <-ctx.Done():
	}
}

// join becomes known, and watches the lease from then on.
func (t *Trainer) join(ctx context.Context) error {
	joining, cancel := t.news.until(ctx, func(n told) error {
		if n.leaving != "" {
			return ErrLeft
		}
		if n.over != nil {
			return errOver
		}
		return nil
	})
	defer cancel()
	if err := t.Members.Join(joining, t.Member); err != nil {
		if joining.Err() != nil {
			return context.Cause(joining)
		}
		return fmt.Errorf("joining run %s: %w", t.Run.GetRun(), err)
	}
	lost := t.Members.Lost()
	t.news.update(func(n *told) { n.outcast = false })
	go func() {
		select {
		case <-lost:
			t.news.update(func(n *told) { n.outcast = true })
		case <-ctx.Done():
		}
	}()
	return nil
}

// ending is how Serve ends where the loop ended with err.
func (t *Trainer) ending(err error) error {
	n, _ := t.news.now()
	switch {
	case err == nil, errors.Is(err, errDone):
		return nil
	case !errors.Is(err, errOver):
		return err
	case n.over.GetRefused():
		return fmt.Errorf("%w: %s", ErrRefused, n.over.GetReason())
	case t.said.GetStopped():
		return fmt.Errorf("%w: %s", ErrStopped, n.over.GetReason())
	case t.said != nil:
		return nil
	case n.leaving != "":
		return ErrLeft
	case n.stop != "":
		return fmt.Errorf("%w: %s", ErrStopped, n.over.GetReason())
	}
	return fmt.Errorf("%w: %s", ErrOver, n.over.GetReason())
}

// part says what is left to say before the trainer goes. One that gives up has its state saved, if it is worth keeping, and its reason heard.
func (t *Trainer) part(ctx context.Context, why error) {
	if ctx.Err() != nil || t.over() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, rescue)
	defer cancel()
	if why != nil && !errors.Is(why, ErrLeft) && !errors.Is(why, ErrStopped) {
		if err := t.saveForRescue(ctx); err != nil {
			t.Logger.Warn("the state after the last applied iteration could not be saved", "iteration", t.applied, "error", err)
			// A device that failed gives it no more. A checkpoint that it gave before may be on its way yet.
			if err := t.link.await(ctx, t.link.nothingToSave); err != nil {
				t.Logger.Warn("no coordinator took the last checkpoint", "error", err)
			}
		}
		failure := &ditherv1.Failure{Message: ditherv1.Message(why), Iteration: t.applied, Deterministic: errors.Is(why, ErrDiverged) || errors.Is(why, ErrLabels), Diverged: errors.Is(why, ErrDiverged)}
		t.link.change(func() {
			t.link.out.failure = letterOf(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Failure{Failure: failure}})
		})
	}
	if err := t.link.await(ctx, t.link.out.told); err != nil {
		t.Logger.Warn("no coordinator heard the last words", "error", err)
	}
}

func (t *Trainer) over() bool {
	n, _ := t.news.now()
	return n.over != nil
}

// saveForRescue sends the last applied state when this trainer gives up.
func (t *Trainer) saveForRescue(ctx context.Context) error {
	if t.applied == 0 {
		return nil
	}
	c, err := t.Work.Snapshot()
	if err != nil {
		return err
	}
	for _, p := range c.Parameters {
		if !finite(p.Data) {
			return fmt.Errorf("parameter %s is not finite", p.Name)
		}
	}
	t.link.save(c)
	return t.link.saved(ctx, t.applied)
}
