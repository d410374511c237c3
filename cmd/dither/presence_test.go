package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestATeacherStaysInItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := membership.NewFake()
		run := etcd.Run("r")
		there := func() (ids []string) {
			ms, err := run.Members(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ms {
				ids = append(ids, m.GetId()+" at "+m.GetAddress())
			}
			return ids
		}
		stay := func(id, address string) (ended chan error, leave func()) {
			ctx, cancel := context.WithCancel(t.Context())
			ended = make(chan error, 1)
			go func() {
				ended <- stayMember(ctx, slog.New(slog.DiscardHandler), run, &ditherv1.Member{Id: id, Role: "teacher", Address: address})
			}()
			synctest.Wait()
			return ended, cancel
		}
		ended, leave := stay("t", "a:1")
		if got := there(); !slices.Equal(got, []string{"t at a:1"}) {
			t.Fatalf("there are %v", got)
		}
		etcd.Stall("r", "t") // frozen for longer than its lease
		etcd.Advance(leaseTTL)
		synctest.Wait()
		if got := there(); !slices.Equal(got, []string{"t at a:1"}) {
			t.Fatalf("after its lease was lost there are %v", got)
		}
		leave()
		if err := <-ended; err != nil || len(there()) > 0 {
			t.Fatalf("it left with %v, and there are %v", err, there())
		}

		// One that has died holds its place until its lease ends; its successor waits for that.
		dead, leaveDead := stay(journalID, "a:1")
		defer func() { leaveDead(); <-dead }()
		ended, leave = stay(journalID, "b:1")
		time.Sleep(leaseTTL / 2)
		if got := there(); !slices.Equal(got, []string{"journal at a:1"}) {
			t.Fatalf("there are %v", got)
		}
		leaveDead() // as when its lease ends
		time.Sleep(2 * presencePause)
		if got := there(); !slices.Equal(got, []string{"journal at b:1"}) {
			t.Fatalf("after the lease of one that died there are %v", got)
		}
		// One that lives is not waited for.
		second, leaveSecond := stay(journalID, "c:1")
		defer leaveSecond()
		err := <-second
		if !errors.Is(err, membership.ErrTaken) || !strings.Contains(err.Error(), "only one teacher-logit service may give the answers") {
			t.Errorf("a second one: %v", err)
		}
		leave()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// told is what a service was told.
type told struct {
	covered  []uint32
	finished bool
}

func (s *told) Covered(k uint32) { s.covered = append(s.covered, k) }
func (s *told) Finished()        { s.finished = true }

// scene is a coordinator that has its events, and is then gone.
type scene struct {
	ditherv1.CoordinatorServiceClient
	phase  string
	events []*ditherv1.WatchResponse
}

func (s *scene) Status(context.Context, *ditherv1.StatusRequest, ...grpc.CallOption) (*ditherv1.StatusResponse, error) {
	return &ditherv1.StatusResponse{Phase: s.phase}, nil
}

func (s *scene) Watch(context.Context, *ditherv1.WatchRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ditherv1.WatchResponse], error) {
	return &events{left: s.events}, nil
}

type events struct {
	grpc.ServerStreamingClient[ditherv1.WatchResponse]
	left []*ditherv1.WatchResponse
}

func (e *events) Recv() (*ditherv1.WatchResponse, error) {
	if len(e.left) == 0 {
		return nil, errors.New("the coordinator is gone")
	}
	next := e.left[0]
	e.left = e.left[1:]
	return next, nil
}

func saved(path string) *ditherv1.WatchResponse {
	return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Checkpoint{Checkpoint: path}}
}

func over(phase string) *ditherv1.WatchResponse {
	return &ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Result{Result: &ditherv1.RunResult{Phase: phase}}}
}

func TestARunIsFollowedFromOneCoordinatorToTheNext(t *testing.T) {
	for name, c := range map[string]struct {
		scenes   []*scene // nil: nobody leads
		covered  []uint32
		finished bool
	}{
		"to its end": {[]*scene{
			{events: []*ditherv1.WatchResponse{{}, saved("checkpoints/iteration-00000004.safetensors"), saved("elsewhere")}},
			nil, nil,
			{phase: "training", events: []*ditherv1.WatchResponse{saved("checkpoints/iteration-00000008.safetensors"), over("finished"), saved("checkpoints/iteration-00000009.safetensors")}},
		}, []uint32{4, 8}, true},
		"and it had ended meanwhile": {[]*scene{{}, {phase: "finished"}}, nil, true},
		"and it was stopped":         {[]*scene{{}, {phase: "waiting"}, {phase: "stopped"}}, nil, false},
		"and it failed":              {[]*scene{{events: []*ditherv1.WatchResponse{over("failed")}}}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, left := &told{}, c.scenes[1:]
				followRun(t.Context(), func(context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
					next := left[0]
					left = left[1:]
					if next == nil {
						return nil, nil, errors.New("nobody leads")
					}
					return next, io.NopCloser(nil), nil
				}, c.scenes[0], s)
				if !slices.Equal(s.covered, c.covered) || s.finished != c.finished || len(left) > 0 {
					t.Errorf("told %v, finished %v, %d coordinators not asked", s.covered, s.finished, len(left))
				}
			})
		})
	}
}
