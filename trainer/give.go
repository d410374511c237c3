package trainer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// pendingRequests bounds the requests for the state after a later iteration.
const pendingRequests = 64

// give answers a request for the state, between two iterations; one for a later iteration waits for it.
func (t *Trainer) give(r *stateRequest) {
	switch {
	case !t.hasState:
		r.answer <- nil
	case r.least > t.applied && len(t.offer.pending) < pendingRequests:
		t.offer.pending = append(t.offer.pending, r)
	case r.least > t.applied:
		r.answer <- nil
	default:
		k, err := t.keep()
		if err != nil {
			t.Logger.Warn("the state could not be copied", "iteration", t.applied, "error", err)
		}
		r.answer <- k
	}
}

// serve answers what was asked for during the iteration.
func (t *Trainer) serve() {
	for _, r := range t.offer.taken() {
		t.give(r)
	}
	for {
		select {
		case r := <-t.offer.requests:
			t.give(r)
		default:
			return
		}
	}
}

// taken takes the requests that waited.
func (o *offer) taken() []*stateRequest {
	all := o.pending
	o.pending = nil
	return all
}

// keep copies the state for others, where the copy that is there is another iteration's.
func (t *Trainer) keep() (*kept, error) {
	if k, _ := t.offer.fresh(t.applied); k != nil {
		return k, nil
	}
	c, err := t.Work.Snapshot()
	if err != nil {
		return nil, err
	}
	k := &kept{snapshot: c, used: time.Now()}
	t.offer.keep(k)
	return k, nil
}

// belongs refuses who is of another run.
func (t *Trainer) belongs(at *ditherv1.Position) error {
	if at.GetRun() == t.Run.GetRun() && at.GetSpecSha256() == t.Run.GetSpecSha256() {
		return nil
	}
	return ditherv1.Fault(codes.FailedPrecondition, fmt.Sprintf("has the state of run %s of spec %.12s and was asked for run %s of spec %.12s",
		t.Run.GetRun(), t.Run.GetSpecSha256(), at.GetRun(), at.GetSpecSha256()), "trainer "+t.Member.GetId(), "ask a trainer of your own run")
}

// FetchState answers another trainer, as dither.v1.TrainerService says: the state between two iterations, in pieces. It may be called from any goroutine.
func (t *Trainer) FetchState(ctx context.Context, r *ditherv1.FetchStateRequest, send func(*ditherv1.FetchStateResponse) error) error {
	if err := t.belongs(r.GetPosition()); err != nil {
		return err
	}
	k, err := t.offer.state(ctx, r.GetPosition().GetIteration())
	if err != nil {
		return err
	}
	data, sum, err := k.bytes()
	if err != nil {
		return ditherv1.Fault(codes.Internal, err.Error(), "trainer "+t.Member.GetId(), "")
	}
	total := uint64(len(data))
	if r.GetOffset() > total || r.GetLength() > total-r.GetOffset() {
		return ditherv1.Fault(codes.OutOfRange, fmt.Sprintf("has %d bytes of state and was asked for %d at %d", total, r.GetLength(), r.GetOffset()), "trainer "+t.Member.GetId(), "")
	}
	end := total
	if r.GetLength() > 0 {
		end = r.GetOffset() + r.GetLength()
	}
	for from := r.GetOffset(); from < end; from += piece {
		bytes := data[from:min(from+piece, end)]
		digest := sha256.Sum256(bytes)
		if err := send(&ditherv1.FetchStateResponse{Iteration: k.iteration(), TotalBytes: total, StateSha256: sum[:], Offset: from, Data: bytes, DataSha256: digest[:]}); err != nil {
			return err
		}
	}
	return nil
}

// FollowUpdates answers another trainer, as dither.v1.TrainerService says: what is applied from now on. It may be called from any goroutine.
func (t *Trainer) FollowUpdates(ctx context.Context, r *ditherv1.FollowUpdatesRequest, send func(*ditherv1.FollowUpdatesResponse) error) error {
	if err := t.belongs(r.GetPosition()); err != nil {
		return err
	}
	f, after, ok := t.offer.follow()
	if !ok {
		return errStateless
	}
	defer t.offer.unfollow(f)
	if err := send(&ditherv1.FollowUpdatesResponse{Iteration: after}); err != nil {
		return err
	}
	for {
		updates, cut := t.offer.take(f)
		if cut != "" {
			return ditherv1.Fault(codes.Aborted, cut, "trainer "+t.Member.GetId(), "copy the state anew")
		}
		for _, u := range updates {
			if err := sendUpdate(u, send); err != nil {
				return err
			}
		}
		select {
		case <-f.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func sendUpdate(u *wireUpdate, send func(*ditherv1.FollowUpdatesResponse) error) error {
	for from := 0; from < len(u.data); from += piece {
		if err := send(&ditherv1.FollowUpdatesResponse{Iteration: u.iteration, Lr: u.lr, TotalBytes: uint64(len(u.data)), UpdateSha256: u.sum[:], Data: u.data[from:min(from+piece, len(u.data))]}); err != nil {
			return err
		}
	}
	return nil
}
