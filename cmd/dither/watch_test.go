package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// leader is a coordinator that tells some events and is gone.
type leader struct {
	ditherv1.CoordinatorServiceClient
	events []*ditherv1.WatchResponse
	phase  string // that it still tells when its events are over; "": it is gone
	told   []string
}

func (l *leader) Close() error { return nil }

func (l *leader) Watch(context.Context, *ditherv1.WatchRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ditherv1.WatchResponse], error) {
	return &telling{left: l.events}, nil
}

func (l *leader) Status(context.Context, *ditherv1.StatusRequest, ...grpc.CallOption) (*ditherv1.StatusResponse, error) {
	if l.phase == "" {
		return nil, errors.New("gone")
	}
	return &ditherv1.StatusResponse{Phase: l.phase, Reason: "the disk is full"}, nil
}

func (l *leader) Stop(_ context.Context, r *ditherv1.StopRequest, _ ...grpc.CallOption) (*ditherv1.StopResponse, error) {
	l.told = append(l.told, r.GetReason())
	return &ditherv1.StopResponse{}, nil
}

type telling struct {
	grpc.ClientStream
	left []*ditherv1.WatchResponse
}

func (e *telling) Recv() (*ditherv1.WatchResponse, error) {
	if len(e.left) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	next := e.left[0]
	e.left = e.left[1:]
	return next, nil
}

func iterationEvent(k uint32) *ditherv1.WatchResponse {
	return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Iteration{Iteration: &ditherv1.IterationRecord{Iteration: k}}}
}

func statusEvent(phase string, generation uint64, why string) *ditherv1.WatchResponse {
	return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Status{Status: &ditherv1.StatusResponse{Phase: phase, Reason: "so it is", Iterations: 4, Generation: generation, GenerationReason: why}}}
}

func evaluationEvent(k uint32) *ditherv1.WatchResponse {
	return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Evaluation{Evaluation: &ditherv1.Evaluation{Kind: "test", Iteration: k}}}
}

func resultEvent(phase string) *ditherv1.WatchResponse {
	return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Result{Result: &ditherv1.RunResult{Phase: phase}}}
}

// following gives each of some coordinators in turn, the last one for ever; a nil one cannot be reached.
func following(leaders ...*leader) dialer {
	return func(context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
		l := leaders[0]
		if len(leaders) > 1 {
			leaders = leaders[1:]
		}
		if l == nil {
			return nil, nil, errNoLeader
		}
		return l, l, nil
	}
}

func TestAWatcherGoesOnWithTheNextCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &leader{events: []*ditherv1.WatchResponse{statusEvent("training", 1, "all are here"), iterationEvent(1), iterationEvent(2), evaluationEvent(2)}}
		second := &leader{events: []*ditherv1.WatchResponse{iterationEvent(1), iterationEvent(2), evaluationEvent(2), statusEvent("training", 1, "all are here"), iterationEvent(3),
			statusEvent("training", 2, "b is lost"), iterationEvent(4), evaluationEvent(4), resultEvent("finished")}}
		interrupted, interrupt := context.WithCancel(t.Context())
		interrupt()
		var out strings.Builder
		w := &watcher{app: newApp(io.Discard, &out), title: "run", reach: following(first, nil, nil, second), interrupted: interrupted}
		r, err := w.follow(t.Context())
		if err != nil || r.GetPhase() != "finished" {
			t.Fatalf("%v, %v", r, err)
		}
		synctest.Wait()
		if len(first.told) != 1 || len(second.told) != 1 {
			t.Errorf("coordinators were told to stop: %q, %q; each must be, once", first.told, second.told)
		}
		for _, line := range []string{"run: after iteration 2:", "run: after iteration 4:", "run: generation 2 after iteration 0: b is lost\n", "run: 4/4 (100 %)"} {
			if n := strings.Count(out.String(), line); n != 1 {
				t.Errorf("%q is there %d times:\n%s", line, n, out.String())
			}
		}
		if strings.Contains(out.String(), "generation 1") {
			t.Errorf("the first generation is no news:\n%s", out.String())
		}
	})
}

func TestAWatcherGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{app: newApp(io.Discard, io.Discard), patience: watchWait, reach: following(&leader{events: []*ditherv1.WatchResponse{iterationEvent(1)}}, nil)}
		if _, err := w.follow(t.Context()); exitCode(err) != exitTemporary || !strings.Contains(err.Error(), "no coordinator leads the run now") {
			t.Errorf("%v", err)
		}
	})
}

func TestARunWhoseEventsCannotBeKept(t *testing.T) {
	w := &watcher{app: newApp(io.Discard, io.Discard), reach: following(&leader{phase: "failed", events: []*ditherv1.WatchResponse{iterationEvent(1)}})}
	if r, err := w.follow(t.Context()); err != nil || r.GetPhase() != "failed" || r.GetReason() != "the disk is full" || !r.GetTemporary() {
		t.Errorf("%v, %v", r, err)
	}
}
