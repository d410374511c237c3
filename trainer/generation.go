package trainer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
)

// connectPatience is how long the others of a generation are awaited, beside what an iteration takes that they may have to end first.
const connectPatience = 10 * time.Second

// generation is this trainer's part in one.
type generation struct {
	*ditherv1.Generation
	rank    int
	reducer *allreduce.Reducer
	flying  uint32 // the iteration whose labels were given to the Work; 0: none
}

// me is this trainer with its shards.
func (g *generation) me() *ditherv1.Member { return g.GetTrainers()[g.rank] }

func (g *generation) ranges() (all []allreduce.Range) {
	for _, m := range g.GetTrainers() {
		all = append(all, allreduce.Range{First: int(m.GetFirstShard()), End: int(m.GetEndShard())})
	}
	return all
}

// errEnded ends a generation in good order: another one is planned, or there is nothing left to do.
var errEnded = errors.New("the generation ended in order")

// takePart is the life of a generation for this trainer. An error is the trainer's own, and final: what befalls the generation is told to the coordinator, and the next one is awaited.
func (t *Trainer) takePart(ctx context.Context, in *ditherv1.Generation) error {
	rank, _ := rankOf(in, t.Member)
	g := &generation{Generation: in, rank: rank}
	t.entered = g.GetNumber()
	t.said = nil
	t.Logger.Info("generation", "number", g.GetNumber(), "reason", g.GetReason(), "trainers", len(g.GetTrainers()), "first_shard", g.me().GetFirstShard(), "end_shard", g.me().GetEndShard())
	t.link.change(func() { t.link.out.generation(rank == 0) })
	t.link.stands(func(at *ditherv1.Beat) { at.Generation, at.Doing = g.GetNumber(), "connecting" })
	ctx, cancel := t.news.until(ctx, func(n told) error { return n.hurries(g.GetNumber()) })
	defer cancel()
	began := time.Now()
	err := t.enter(ctx, g)
	t.unfollow()
	if err == nil {
		t.Logger.Info("going on", "generation", g.GetNumber(), "after", t.applied, "took", time.Since(began))
		err = t.iterate(ctx, g)
	}
	t.leave(ctx, g, err)
	var own *ownError
	if errors.As(err, &own) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrLabels) {
		return err
	}
	return nil
}

// leave says why the generation is over for this trainer, where the others cannot know.
func (t *Trainer) leave(ctx context.Context, g *generation, why error) {
	t.link.change(func() { t.link.out.first = false })
	if t.said != nil {
		return // a last word belongs to its generation, which it is in until the next
	}
	t.link.stands(func(at *ditherv1.Beat) { at.Generation, at.Doing = 0, "waiting for a generation" })
	if errors.Is(why, errEnded) || errors.Is(context.Cause(ctx), errSuperseded) || errors.Is(why, errSuperseded) {
		return
	}
	a := &ditherv1.Aborted{Generation: g.GetNumber(), Iteration: t.applied + 1, Reason: ditherv1.Message(why), FirstShard: g.me().GetFirstShard()}
	if rank, known := allreduce.LostRank(why); known {
		a.Lost = append(a.Lost, g.GetTrainers()[rank].GetId())
	}
	if g.flying == t.applied+1 {
		a.LabelDigests = slices.Clone(t.Work.Digests())
	}
	t.Logger.Warn("the generation broke; its iteration in flight will be done again", "number", g.GetNumber(), "iteration", a.GetIteration(), "lost", a.GetLost(), "reason", a.GetReason())
	t.link.change(func() {
		t.link.out.aborted = letterOf(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Aborted{Aborted: a}})
	})
}

// connection is what Connect gave.
type connection struct {
	transport allreduce.Transport
	applied   []uint32
	err       error
}

// enter connects with the others, prepares for the shards meanwhile, and brings the state to where all go on.
func (t *Trainer) enter(ctx context.Context, g *generation) error {
	entering, cancel := t.news.until(ctx, func(n told) error { return n.supersedes(g.GetNumber()) })
	defer cancel()
	peers := allreduce.Peers{Generation: g.GetNumber(), Rank: g.rank, Applied: t.applied}
	host := t.Member.GetProcess()[:max(0, strings.LastIndexByte(t.Member.GetProcess(), ':'))]
	for _, m := range g.GetTrainers() {
		peers.Addresses = append(peers.Addresses, allreduce.PickAddress(m, host))
	}
	patient, stop := context.WithTimeoutCause(entering, connectPatience+3*t.seconds, errors.New("the others did not all come"))
	defer stop()
	connected := make(chan connection, 1)
	go func() {
		transport, applied, err := t.Exchange.Connect(patient, peers)
		connected <- connection{transport, applied, err}
	}()
	own := t.Work.Own(int(g.me().GetFirstShard()), int(g.me().GetEndShard()))
	c := <-connected
	if own != nil {
		if c.err == nil && c.transport != nil {
			c.transport.Close(own)
		}
		return &ownError{own}
	}
	if c.err != nil {
		return cmp.Or(superseded(entering), c.err)
	}
	g.reducer = allreduce.New(allreduce.Group{Rank: g.rank, Ranges: g.ranges()}, c.transport, allreduce.Options{ChunkFloats: t.ChunkFloats, Silence: t.silence})
	if err := t.settle(entering, g, c.applied); err != nil {
		t.end(g, err)
		return err
	}
	return nil
}

// superseded is the reason for which ctx is over, if it is another generation.
func superseded(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, errSuperseded) {
		return err
	}
	return nil
}

// settle brings the state to the greatest iteration that any of the others applied.
func (t *Trainer) settle(ctx context.Context, g *generation, applied []uint32) error {
	m := slices.Max(applied)
	switch {
	case m == 0:
		return t.begin(ctx)
	case !t.hasState || t.applied < m:
		return t.reach(ctx, g, m, applied)
	case slices.Min(applied) < m:
		// They will ask when this trainer is within an iteration, from which it cannot answer.
		if _, err := t.keep(); err != nil {
			return &ownError{err}
		}
	}
	return nil
}

// reach brings the state to iteration m: by the last updates of whom it followed, else by a copy of the state of those who are there.
func (t *Trainer) reach(ctx context.Context, g *generation, m uint32, applied []uint32) error {
	t.link.stands(func(at *ditherv1.Beat) { at.Doing = fmt.Sprintf("reaching iteration %d", m) })
	if err := t.lastUpdates(ctx, m); err != nil {
		return err
	}
	for t.applied != m || !t.hasState {
		var there []*ditherv1.Member
		for i := range applied { // those who are behind begin with different ones
			if rank := (g.rank + i) % len(applied); applied[rank] == m {
				there = append(there, g.GetTrainers()[rank])
			}
		}
		err := t.copy(ctx, there, m)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			break
		}
		t.Logger.Warn("the state of the others did not come; trying again", "iteration", m, "error", err)
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if t.applied != m {
		return &ownError{fmt.Errorf("the others are after iteration %d, and gave the state after %d", m, t.applied)}
	}
	return nil
}

// lastUpdates applies what comes from whom it followed, for a while.
func (t *Trainer) lastUpdates(ctx context.Context, m uint32) error {
	if t.source == nil || !t.hasState || t.source.after > t.applied {
		return nil
	}
	late := time.After(followLast)
	for t.applied < m {
		select {
		case u, open := <-t.source.updates:
			if !open || u.Iteration > m {
				return nil
			}
			var own *ownError
			if err := t.apply(u); errors.As(err, &own) {
				return err
			} else if err != nil {
				return nil // there is a gap
			}
		case <-late:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// end ends the exchange: at once where it broke or was cut short, else in order, so that the others get what they still need, and come to the same end.
func (t *Trainer) end(g *generation, why error) {
	var own *ownError
	if !errors.Is(why, errEnded) && !errors.As(why, &own) {
		g.reducer.Abort(why)
	}
	g.reducer.Close()
}
