package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"time"

	"github.com/dither-ml/dither/coordinator"
	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	presencePause = time.Second              // between two tries to be in etcd, or to find the coordinator
	takenPatience = leaseTTL + 5*time.Second // for the lease of one that held the same place and has died
)

// stayMember keeps m in the run until ctx ends, which is no error: it waits for an etcd that is away, and joins again where its lease was lost. A place that another holds for longer than the lease of
// one that died is an error.
func stayMember(ctx context.Context, log *slog.Logger, members membership.Registry, m *ditherv1.Member) error {
	for {
		lease, err := joinPatiently(ctx, log, members, m)
		if err != nil {
			return err
		}
		if lease == nil {
			return nil
		}
		select {
		case <-lease.Lost():
			log.Warn("the etcd lease was lost; joining again", "id", m.GetId())
		case <-ctx.Done():
			if err := lease.Leave(context.WithoutCancel(ctx)); err != nil {
				log.Warn("left without saying so", "error", err)
			}
			return nil
		}
	}
}

// joinPatiently is a lease, or nil where ctx has ended.
func joinPatiently(ctx context.Context, log *slog.Logger, members membership.Registry, m *ditherv1.Member) (*membership.Lease, error) {
	var said string
	var taken time.Time // since when another holds the place
	for ctx.Err() == nil {
		lease, err := members.Join(ctx, m, leaseTTL)
		switch {
		case err == nil:
			return lease, nil
		case ctx.Err() != nil:
			return nil, nil
		case !errors.Is(err, membership.ErrTaken):
			taken = time.Time{}
		case taken.IsZero():
			taken = time.Now()
		case time.Since(taken) > takenPatience && m.GetId() == journalID:
			return nil, fmt.Errorf("of a noise that is not replayable only one teacher-logit service may give the answers, and the run has one: %w", err)
		case time.Since(taken) > takenPatience:
			return nil, err
		}
		if said != err.Error() {
			said = err.Error()
			log.Warn("not in the run yet; trying again", "id", m.GetId(), "error", err)
		}
		select {
		case <-time.After(presencePause):
		case <-ctx.Done():
		}
	}
	return nil, nil
}

// leaderOf dials the coordinator that leads.
func leaderOf(members membership.Registry) func(context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
	return func(ctx context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
		ctx, cancel := context.WithTimeout(ctx, takenPatience)
		defer cancel()
		address, err := members.Leader(ctx)
		if err != nil {
			return nil, nil, err
		}
		if address == "" {
			return nil, nil, errors.New("no coordinator leads the run")
		}
		return coordinator.Dial(ctx, address)
	}
}

// runListener is told what a run has done; *teacher.Service in a run.
type runListener interface {
	Covered(k uint32) // there is a checkpoint after iteration k
	Finished()        // the run has come to its end
}

// followRun tells the service what the run has done, until it is over or ctx is. A coordinator that is gone is followed by the next.
func followRun(ctx context.Context, leader func(context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error), client ditherv1.CoordinatorServiceClient, service runListener) {
	for over := watchRun(ctx, client, service); !over && ctx.Err() == nil; {
		select {
		case <-time.After(presencePause):
		case <-ctx.Done():
			return
		}
		next, conn, err := leader(ctx)
		if err != nil {
			continue // it is asked for again; trainers need labels meanwhile
		}
		over = endedBefore(ctx, next, service) || watchRun(ctx, next, service)
		_ = conn.Close() // nothing is left to be said on it
	}
}

// watchRun follows one coordinator, and says whether the run is over.
func watchRun(ctx context.Context, client ditherv1.CoordinatorServiceClient, service runListener) (over bool) {
	stream, err := client.Watch(ctx, &ditherv1.WatchRequest{})
	for err == nil {
		var e *ditherv1.WatchResponse
		if e, err = stream.Recv(); err != nil {
			break
		}
		var k uint32
		if _, err := fmt.Sscanf(path.Base(e.GetCheckpoint()), "iteration-%d.safetensors", &k); err == nil {
			service.Covered(k)
		}
		if r := e.GetResult(); r != nil {
			return ended(r.GetPhase(), service)
		}
	}
	return false
}

// endedBefore says whether the run ended while its coordinator was out of sight.
func endedBefore(ctx context.Context, client ditherv1.CoordinatorServiceClient, service runListener) bool {
	ctx, cancel := context.WithTimeout(ctx, takenPatience)
	defer cancel()
	s, err := client.Status(ctx, &ditherv1.StatusRequest{})
	return err == nil && ended(s.GetPhase(), service)
}

// ended says whether a run in this phase is over.
func ended(phase string, service runListener) bool {
	switch phase {
	case "finished":
		service.Finished()
		return true
	case "stopped", "failed":
		return true
	}
	return false
}
