package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
)

// etcdMembers are a trainer's Members in etcd.
type etcdMembers struct {
	registry membership.Registry
	logger   *slog.Logger

	mu    sync.Mutex
	lease *membership.Lease // of the last Join; nil before it
}

// Join implements trainer.Members.
func (m *etcdMembers) Join(ctx context.Context, me *ditherv1.Member) error {
	lease, err := joinPatiently(ctx, m.logger, m.registry, me)
	if err != nil {
		return badInput(err)
	}
	if lease == nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lease = lease
	return nil
}

// Generations implements trainer.Members.
func (m *etcdMembers) Generations(ctx context.Context) <-chan *ditherv1.Generation {
	return m.registry.WatchGeneration(ctx)
}

func (m *etcdMembers) held() *membership.Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lease
}

// Lost implements trainer.Members.
func (m *etcdMembers) Lost() <-chan struct{} { return m.held().Lost() }

// Leave implements trainer.Members.
func (m *etcdMembers) Leave(ctx context.Context) error { return m.held().Leave(ctx) }

func newServeTrainerCommand(a *app) *cobra.Command {
	s := &serveFlags{trains: true}
	cmd := &cobra.Command{Use: "trainer", Short: "Compute shards of a run", Args: noArgs,
		Long: "It may be started, stopped, killed and started again at any time: the others go on without it, and the run's parameters are the same. A SIGTERM lets it end its iteration and leave in order.",
		Example: "  dither serve trainer --coordinator 10.0.0.1:7000 --listen 10.0.0.3:7002 --data data --threads 8\n" +
			"  dither serve trainer --coordinator 10.0.0.1:7000 --listen 10.0.0.3:7002 --kernels cuda --gpus 8"}
	s.define(cmd, true)
	cmd.Flags().BoolVar(&s.shareGPU, "share-gpu", false, shareGPUHelp)
	cmd.Flags().Uint32Var(&s.gpus, "gpus", 1, gpusHelp)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := s.drain(cmd.Context())
		defer cancel()
		if !s.attached { // else `dither run` has said so
			a.warnThreads(s.threads)
		}
		w, err := s.worker(ctx, true)
		if err != nil {
			return err
		}
		defer w.close()
		return trainerEnding(serveTrainer(ctx, a, s, w))
	}
	return cmd
}

// serveTrainer takes part in the run until it is over, or ctx asks it to leave.
func serveTrainer(ctx context.Context, a *app, s *serveFlags, w *worker) error {
	sockets, err := os.MkdirTemp("", "dither-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(sockets)
	socket := filepath.Join(sockets, "exchange")
	if s.tcpOnly {
		socket = ""
	}
	network, err := trainer.Listen(w.run, w.listener, socket)
	if err != nil {
		return err
	}
	defer network.Close()
	shards := int(w.run.GetSpec().GetShards())
	if len(w.sets) > shards {
		return badInputf("--gpus %d are more than the run's %d shards, and a GPU without a shard has nothing to do; say --gpus %d", len(w.sets), shards, shards)
	}
	share, err := trainer.NewShare(w.sets, w.data, w.run.GetSpec(), versionString(), 0, max(1, shards/max(1, int(w.run.GetTrainers()))))
	if err != nil {
		return err
	}
	defer share.Close()
	if err := share.RoomToEvaluate(); err != nil {
		return err
	}
	living, done := context.WithCancel(context.WithoutCancel(ctx)) // a drain is not the end
	defer done()
	host, _ := os.Hostname()
	me := &ditherv1.Member{Id: s.name("trainer"), Role: "trainer", Address: trainer.Address(s.advertised(w.listener), socket), KernelSet: w.kernels().Name(), Arithmetic: w.kernels().Arithmetic(),
		Version: versionString(), Process: fmt.Sprintf("%s:%d", host, os.Getpid()), SpecSha256: ditherv1.Hash(w.run.GetSpec()), TrainSha256: w.data.Train.Hash(), TestSha256: w.data.Test.Hash()}
	c := trainer.Config{Member: me, Run: w.run, Members: &etcdMembers{registry: w.members, logger: a.log}, Coordinators: trainer.FollowLeader(w.members.WatchLeader(living), w.run.GetSpecSha256()),
		Exchange: network, Peers: network, Work: share, Logger: a.log}
	if w.run.GetSpec().GetTeacher() != nil {
		labels := trainer.NewLabels(trainer.LabelsConfig{ID: me.GetId(), Run: w.run, Teachers: w.members.WatchMembers(living), Logger: a.log})
		defer labels.Close()
		c.Labels = labels
	}
	t, err := trainer.New(c)
	if err != nil {
		return err
	}
	network.Offer(t)
	return t.Serve(living, ctx.Done())
}

// trainerEnding is how a trainer's end reads as a command's.
func trainerEnding(err error) error {
	switch {
	case errors.Is(err, trainer.ErrStopped):
		return stopped(err)
	case errors.Is(err, trainer.ErrLeft):
		return temporary(err)
	case errors.Is(err, trainer.ErrRefused):
		return badInput(err)
	}
	return err
}
