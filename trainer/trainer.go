// Package trainer computes shards of a run: it joins, takes part in a generation, and for each iteration puts its shards through the
// network, all-reduces the gradients with the other trainers, and commits.
package trainer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/kernel"
)

// ErrStopped is returned by Serve when the run was stopped, with a checkpoint, before its last iteration.
var ErrStopped = errors.New("stopped before the last iteration")

// ErrDiverged is wrapped when a loss is not finite: every trainer sees it at the same iteration, and a retry would see it again.
var ErrDiverged = errors.New("the loss is not finite")

// Membership is how a trainer becomes known and learns its generation: etcd in a run, a fake in tests.
type Membership interface {
	// Join makes m known, for as long as the process lives.
	Join(ctx context.Context, m *ditherv1.Member) error
	// Generations are those in force from now on, the current one first.
	Generations(ctx context.Context) <-chan *ditherv1.Generation
	// Lost is closed when the others may think that this trainer is gone.
	Lost() <-chan struct{}
}

// Config is what a trainer is given.
type Config struct {
	ID          string                            // its name in the run
	Version     string                            // of the binary
	Run         *ditherv1.GetRunResponse          // from the coordinator
	Coordinator ditherv1.CoordinatorServiceClient // the same
	Members     Membership                        //
	Kernels     kernel.Set                        // computes; its arithmetic is the spec's
	Data        *dataloader.Set                   // the run's data set, with its limits
	Listener    net.Listener                      // TCP, for other trainers
	Advertise   string                            // HOST:PORT under which they reach it
	Socket      string                            // path of a unix socket for those on this host; "": none
	Logger      *slog.Logger                      //
}

// Trainer is one process of a run.
type Trainer struct {
	Config
	*Share      // what it computes, once a generation has given it shards
	coordinator ditherv1.CoordinatorServiceClient
	reporter    *reporter
	generation  *ditherv1.Generation
	me          *ditherv1.Member
	rank        int
	requests    chan func(applied uint32) // run between two iterations, when the state is whole
	stopping    atomic.Bool
	drained     <-chan struct{}
}

// Serve takes part in the run until it is over: nil at its last iteration, ErrStopped when stopped before, ErrDiverged and others with the
// reason in words. When drain is closed, the run is stopped after the iteration in flight. ctx ends everything at once.
func Serve(ctx context.Context, c Config, drain <-chan struct{}) error {
	t := &Trainer{Config: c, coordinator: c.Coordinator, requests: make(chan func(uint32)), drained: drain}
	if err := t.checks(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	network, err := listen(t)
	if err != nil {
		return err
	}
	defer network.close()
	if t.reporter, err = newReporter(ctx, t); err != nil {
		return err
	}
	err = t.takePart(ctx, cancel, network)
	return errors.Join(err, t.reporter.close())
}

// checks refuses what is not the run's, naming the difference.
func (t *Trainer) checks() error {
	spec, d := t.Run.GetSpec(), t.Run.GetSpec().GetDataset()
	switch {
	case ditherv1.Hash(spec) != t.Run.GetSpecSha256():
		return fmt.Errorf("the coordinator's spec has the hash %.12s here and %.12s there: this trainer is version %s and the coordinator %s; use one version",
			ditherv1.Hash(spec), t.Run.GetSpecSha256(), t.Version, t.Run.GetVersion())
	case t.Kernels.Arithmetic() != spec.GetArithmetic():
		return fmt.Errorf("the run is in arithmetic %s and kernel set %s computes in %s; choose another with --kernels", spec.GetArithmetic(), t.Kernels.Name(), t.Kernels.Arithmetic())
	case t.Data.Train.Hash() != d.GetTrainSha256():
		return fmt.Errorf("the %s training images here are not the run's (sha256 %.12s, not %.12s); give --data the same files on every host", d.GetName(), t.Data.Train.Hash(), d.GetTrainSha256())
	case t.Data.Test.Hash() != d.GetTestSha256():
		return fmt.Errorf("the %s test images here are not the run's (sha256 %.12s, not %.12s); give --data the same files on every host", d.GetName(), t.Data.Test.Hash(), d.GetTestSha256())
	}
	return nil
}

// takePart joins, waits for a generation and trains in it.
func (t *Trainer) takePart(ctx context.Context, cancel context.CancelCauseFunc, network *network) error {
	host, _ := os.Hostname()
	t.me = &ditherv1.Member{Id: t.ID, Role: "trainer", Address: network.address(), KernelSet: t.Kernels.Name(), Arithmetic: t.Kernels.Arithmetic(),
		Version: t.Version, Process: fmt.Sprintf("%s:%d", host, os.Getpid())}
	if err := t.Members.Join(ctx, t.me); err != nil {
		return fmt.Errorf("joining run %s: %w", t.Run.GetRun(), err)
	}
	go func() {
		select {
		case <-t.Members.Lost():
			cancel(fmt.Errorf("the etcd lease of %s was lost: the others go on without it", t.ID))
		case <-ctx.Done():
		}
	}()
	if err := t.awaitGeneration(ctx); err != nil {
		return t.failed(0, err)
	}
	group := allreduce.Group{Rank: t.rank}
	for _, m := range t.generation.GetTrainers() {
		group.Ranges = append(group.Ranges, allreduce.Range{First: int(m.GetFirstShard()), End: int(m.GetEndShard())})
	}
	var err error
	if t.Share, err = NewShare(t.Kernels, t.Data, t.Run.GetSpec(), int(t.me.GetFirstShard()), int(t.me.GetEndShard())); err != nil {
		return t.failed(0, err)
	}
	defer t.Share.Close()
	applied, err := t.start(ctx)
	if err != nil {
		return t.failed(0, err)
	}
	transport, err := network.join(ctx, t, group)
	if err != nil {
		return t.failed(applied, err)
	}
	reducer := allreduce.New(group, transport, allreduce.Options{})
	defer reducer.Close()
	stop := context.AfterFunc(ctx, func() { reducer.Abort(context.Cause(ctx)) })
	defer stop()
	return t.train(ctx, reducer, applied)
}

// awaitGeneration waits for a generation that this trainer is in.
func (t *Trainer) awaitGeneration(ctx context.Context) error {
	generations := t.Members.Generations(ctx)
	for {
		select {
		case g, open := <-generations:
			if !open {
				return fmt.Errorf("etcd went away before run %s had a generation", t.Run.GetRun())
			}
			for rank, m := range g.GetTrainers() {
				if m.GetId() == t.ID {
					t.generation, t.me, t.rank = g, m, rank
					t.Logger.Info("generation", "number", g.GetNumber(), "reason", g.GetReason(), "first_shard", m.GetFirstShard(), "end_shard", m.GetEndShard())
					return nil
				}
			}
			return fmt.Errorf("generation %d of run %s has no place for %s: %s", g.GetNumber(), t.Run.GetRun(), t.ID, g.GetReason())
		case why := <-t.reporter.stop:
			return fmt.Errorf("%w: %s", ErrStopped, why)
		case <-t.drained:
			return fmt.Errorf("%w: asked to leave before the first generation", ErrStopped)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// MaxMessage is the largest message of the teacher-logit service in bytes: labels of a shard range, or a piece of a file.
const MaxMessage = 256 << 20

// Pad is the padding of the standard augmentation in pixels (He et al. 2016).
const Pad = 4
