package trainer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	// followQueue is how many updates wait to be applied, at most; the rest waits at their trainer, which cuts off who does not keep up.
	followQueue = 4
	// followPause is how long one waits before it follows somebody else.
	followPause = 200 * time.Millisecond
	// followLast is how long the last updates of a source are awaited once a generation begins; then the state is copied.
	followLast = 500 * time.Millisecond
	// updateMost bounds what is believed about an update's size.
	updateMost = 1 << 34
)

// source is a trainer whose updates are followed.
type source struct {
	member  *ditherv1.Member
	after   uint32       // the iteration after which they follow
	updates chan *Update // closed when no more will come
	err     error        // why; read after updates is closed
	cancel  context.CancelFunc
}

// open begins to follow somebody.
func (t *Trainer) open(opening context.Context, m *ditherv1.Member) (*source, error) {
	// Its life is longer than the opening's: what it applies last is still wanted when a generation names this trainer.
	ctx, cancel := context.WithCancel(context.WithoutCancel(opening))
	stop := context.AfterFunc(opening, cancel)
	defer stop()
	stream, err := t.Peers.FollowUpdates(ctx, m, &ditherv1.FollowUpdatesRequest{Position: t.position(0)})
	var first *ditherv1.FollowUpdatesResponse
	if err == nil {
		silent := time.AfterFunc(fetchPatience, cancel)
		first, err = stream.Recv()
		silent.Stop()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("following trainer %s: %s", m.GetId(), ditherv1.Message(err))
	}
	s := &source{member: m, after: first.GetIteration(), updates: make(chan *Update, followQueue), cancel: cancel}
	go s.read(ctx, stream)
	return s, nil
}

func (t *Trainer) position(iteration uint32) *ditherv1.Position {
	return &ditherv1.Position{Run: t.Run.GetRun(), SpecSha256: t.Run.GetSpecSha256(), Iteration: iteration}
}

// read takes in updates until the stream ends.
func (s *source) read(ctx context.Context, stream Stream[ditherv1.FollowUpdatesResponse]) {
	defer close(s.updates)
	defer s.cancel()
	for {
		u, err := readUpdate(stream)
		if err != nil {
			s.err = fmt.Errorf("trainer %s: %s", s.member.GetId(), ditherv1.Message(err))
			return
		}
		select {
		case s.updates <- u:
		case <-ctx.Done():
			s.err = context.Cause(ctx)
			return
		}
	}
}

// readUpdate puts the pieces of an update together.
func readUpdate(stream Stream[ditherv1.FollowUpdatesResponse]) (*Update, error) {
	var data []byte
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		total := r.GetTotalBytes()
		if data == nil && total <= updateMost {
			data = make([]byte, 0, total)
		}
		if len(r.GetData()) == 0 || uint64(len(data)+len(r.GetData())) > total || total%4 != 0 {
			return nil, fmt.Errorf("%d bytes of the update of iteration %d came where %d of %d are there", len(r.GetData()), r.GetIteration(), len(data), total)
		}
		if data = append(data, r.GetData()...); uint64(len(data)) < total {
			continue
		}
		if sum := sha256.Sum256(data); !bytes.Equal(sum[:], r.GetUpdateSha256()) {
			return nil, fmt.Errorf("the update of iteration %d that came has another sha256 than was announced", r.GetIteration())
		}
		return &Update{Iteration: r.GetIteration(), LR: r.GetLr(), Sums: bytesFloats(data)}, nil
	}
}

// unfollow lets go of whom it follows.
func (t *Trainer) unfollow() {
	if t.source != nil {
		t.source.cancel()
		for range t.source.updates { // until the reader is gone
		}
		t.source = nil
	}
}

// keepLevel copies the state of those in a generation and applies what they apply, until the news say that there is something else to do. It is tried again where that fails.
func (t *Trainer) keepLevel(ctx context.Context, g *ditherv1.Generation) error {
	others := slices.DeleteFunc(slices.Clone(g.GetTrainers()), func(m *ditherv1.Member) bool { return m.GetId() == t.Member.GetId() })
	if len(others) == 0 {
		_, changed := t.news.now()
		return t.wait(ctx, changed)
	}
	first := t.turns % len(others)
	if t.source != nil { // whom it follows already
		first = max(0, slices.IndexFunc(others, func(m *ditherv1.Member) bool { return m.GetId() == t.source.member.GetId() }))
	}
	others = append(others[first:len(others):len(others)], others[:first]...)
	entered := t.entered // of the loop's goroutine, and asked for in another one
	ctx, cancel := t.news.until(ctx, func(n told) error { return leavesLevel(n, t.Member, entered, others[0]) })
	defer cancel()
	err := t.follow(ctx, others)
	if ctx.Err() != nil {
		return nil // the news say what is next
	}
	var fatal *ownError
	if errors.As(err, &fatal) {
		return err
	}
	t.turns++
	t.unfollow()
	t.Logger.Warn("not level with the others; trying again", "error", err)
	select {
	case <-time.After(followPause):
	case <-ctx.Done():
	}
	return nil
}

// leavesLevel says why one is not to go on keeping level by a source: there is something else to do, or the source is not in the generation in force. A source goes on where it stands, so
// that a generation which neither names this trainer nor leaves the source out changes nothing.
func leavesLevel(n told, me *ditherv1.Member, entered uint64, by *ditherv1.Member) error {
	if step, _ := next(n, me, entered, false); step != stepFollow {
		return errNamed
	}
	if _, there := rankOf(n.generation, by); !there {
		return errNamed
	}
	return nil
}

// ownError is a failure of this trainer's own, which trying again would meet again.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

// follow follows others[0], from a state that is copied from all of them where there is none or it is too old.
func (t *Trainer) follow(ctx context.Context, others []*ditherv1.Member) (err error) {
	if t.source != nil && t.source.member.GetId() != others[0].GetId() {
		t.unfollow()
	}
	if t.source == nil {
		if t.source, err = t.open(ctx, others[0]); err != nil {
			return err
		}
	}
	if !t.hasState || t.applied < t.source.after {
		if err := t.copy(ctx, others, t.source.after); err != nil {
			return err
		}
	}
	t.link.stands(func(at *ditherv1.Beat) { at.Generation, at.Doing = 0, "keeping level with "+others[0].GetId() })
	for {
		select {
		case u, open := <-t.source.updates:
			if !open {
				return t.source.err
			}
			if err := t.apply(u); err != nil {
				return err
			}
		case r := <-t.offer.requests:
			t.give(r)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// copy takes the state of others, after the iteration least or a later one.
func (t *Trainer) copy(ctx context.Context, others []*ditherv1.Member, least uint32) error {
	t.link.stands(func(at *ditherv1.Beat) { at.Doing = "copying the state of " + others[0].GetId() })
	began := time.Now()
	f := &fetch{peers: t.Peers, position: t.position(least), logger: t.Logger}
	data, v, err := f.state(ctx, others)
	if err != nil {
		return err
	}
	if err := t.restored(data); err != nil {
		return err
	}
	t.Logger.Info("copied the state", "iteration", v.iteration, "bytes", v.total, "took", time.Since(began))
	return nil
}

// apply applies an update that comes next; one that the state has is left out.
func (t *Trainer) apply(u *Update) error {
	switch {
	case u.Iteration <= t.applied:
		return nil
	case u.Iteration > t.applied+1:
		return fmt.Errorf("the update of iteration %d came, and the state is after %d", u.Iteration, t.applied)
	}
	if err := t.Work.ApplyUpdate(u); err != nil {
		return &ownError{err}
	}
	t.applied = u.Iteration
	t.stand(0)
	t.link.change(func() { t.link.out.beat = true }) // whether it is level is judged by its last word
	return t.offer.publish(t.applied, t.Work.Update)
}
