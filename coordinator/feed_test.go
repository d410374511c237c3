package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

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

// fill lets a feed's file take no more; what it has can still be read.
func (f *feed) fill(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	readable, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	was := f.file
	t.Cleanup(func() { was.Close() }) // somebody may be reading it
	f.file = readable
}

// Where the disk takes no more events those who watch miss nothing all the same, whenever they came.
func TestAFeedOnAFullDisk(t *testing.T) {
	w, a, b := pair(t)
	early := w.watch(true)
	w.term().record.feed.fill(t)
	a.train(4, iterations)
	b.applied(iterations)
	a.finish(iterations, paramsA, false)
	b.finish(iterations, paramsA, false)
	w.ends("finished")
	for _, events := range [][]*ditherv1.WatchResponse{<-early, <-w.watch(true)} {
		next := uint32(1)
		for _, e := range events {
			if i := e.GetIteration(); i != nil {
				if i.GetIteration() != next {
					t.Errorf("iteration %d where %d is due", i.GetIteration(), next)
				}
				next++
			}
		}
		if last := events[len(events)-1]; next != iterations+1 || last.GetResult().GetPhase() != "finished" {
			t.Errorf("%d iterations were shown, and last %v", next-1, last)
		}
	}
	if events := <-w.watch(false); len(events) != 1 || events[0].GetResult() == nil {
		t.Errorf("a late watcher gets %v", events)
	}
	a.bye()
	b.bye()
}

// Memory does not grow for ever then: the oldest events are let go of, and who was not there yet goes on with what there is.
func TestAFeedKeepsTheNewest(t *testing.T) {
	f, err := newFeed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	number := func(k int) *ditherv1.WatchResponse {
		return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Iteration{Iteration: &ditherv1.IterationRecord{Iteration: uint32(k)}}}
	}
	f.append(number(1))
	f.fill(t)
	const many = 5 * mostRest
	for k := 2; k <= many; k++ {
		f.append(number(k))
	}
	middle := f.now()
	f.append(number(many + 1))
	f.end()
	f.append(number(many + 2)) // too late
	if len(f.rest) > 2*mostRest {
		t.Errorf("%d events are in memory", len(f.rest))
	}
	for name, c := range map[string]struct {
		from  place
		first []uint32
		least int
	}{"the start": {place{}, []uint32{1}, mostRest}, "the middle": {middle, []uint32{many + 1}, 1}, "the end": {f.now(), []uint32{many + 1}, 1}} {
		var got []uint32
		if err := f.follow(t.Context(), c.from, func(e *ditherv1.WatchResponse) error {
			got = append(got, e.GetIteration().GetIteration())
			return nil
		}); err != nil {
			t.Error(err)
		}
		if len(got) < c.least || !slices.Equal(got[:1], c.first) || got[len(got)-1] != many+1 || !slices.IsSorted(got) {
			t.Errorf("from %s: %d events, from %d to %d", name, len(got), got[0], got[len(got)-1])
		}
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}

func TestAFeedNeedsAFolder(t *testing.T) {
	if _, err := newFeed(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
