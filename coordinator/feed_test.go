package coordinator

import (
	"context"
	"errors"
	"os"
	"testing"

	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Somebody who watches and does not read holds nobody up, and finds every event when it does.
func TestASlowWatcher(t *testing.T) {
	const many = 5000 // events of some 60 bytes: more than gRPC takes ahead
	config := configFor(t.TempDir(), 1)
	config.Spec.Iterations = many
	w := start(t, config)
	slow, err := w.client.Watch(w.ctx, &ditherv1.WatchRequest{FromStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Recv(); err != nil { // it is there
		t.Fatal(err)
	}
	left, cancel := context.WithCancel(w.ctx)
	gone, err := w.client.Watch(left, &ditherv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := gone.Recv(); err == nil {
		t.Error("an event for who left")
	}
	a := w.join("a").begin()
	a.train(1, many)
	a.finish(many, paramsA, false)
	w.ends("finished")
	a.bye()
	next := uint32(1)
	for {
		e, err := slow.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if i := e.GetIteration(); i != nil {
			if i.GetIteration() != next {
				t.Fatalf("iteration %d where %d is due", i.GetIteration(), next)
			}
			next++
		}
		if e.GetResult() != nil {
			break
		}
	}
	if next != many+1 {
		t.Errorf("%d iterations were shown", next-1)
	}
	// Who comes late and asks for what is new gets the end.
	events := <-w.watch(false)
	if len(events) != 1 || events[0].GetResult().GetPhase() != "finished" {
		t.Errorf("a late watcher gets %v", events)
	}
}

func TestWatchFromNow(t *testing.T) {
	w, a, b := pair(t)
	stream, err := w.client.Watch(w.ctx, &ditherv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan *ditherv1.WatchResponse, 1)
	go func() {
		e, err := stream.Recv()
		if err != nil {
			t.Error(err)
		}
		first <- e
	}()
	// Whatever the first event is by the time that the watch is there, none of the first three iterations is.
	a.train(4, iterations)
	b.applied(iterations)
	a.finish(iterations, paramsA, false)
	b.finish(iterations, paramsA, false)
	w.ends("finished")
	if e := <-first; e.GetIteration() != nil && e.GetIteration().GetIteration() < 4 {
		t.Errorf("the first event is %v", e)
	}
	a.bye()
	b.bye()
}

// The feed's file is taken away under the hands of who watches.
func TestAFeedThatBreaks(t *testing.T) {
	w, a, b := pair(t)
	stream, err := w.client.Watch(w.ctx, &ditherv1.WatchRequest{FromStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	feed := w.term().record.feed
	feed.mu.Lock()
	feed.broken = errors.New("no space left on device")
	feed.mu.Unlock()
	a.apply(a.record(4))
	for err == nil {
		_, err = stream.Recv()
	}
	refused(t, err, codes.Unavailable, "no space left on device", "training is not affected")
	a.train(5, iterations)
	a.finish(iterations, paramsA, false)
	b.finish(iterations, paramsA, false)
	w.ends("finished")
	a.bye()
	b.bye()
}

func TestAFeedNeedsAFolder(t *testing.T) {
	if _, err := newFeed(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
