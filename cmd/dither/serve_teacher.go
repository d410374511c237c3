package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/dither-ml/dither/noise"
	"github.com/dither-ml/dither/noise/teacher"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
)

// journalID is the id of a teacher-logit service whose noise is not replayable, whatever --id says: etcd gives an id to one process, and of such a noise only
// one may give the answers.
const journalID = "journal"

func newServeTeacherCommand(a *app) *cobra.Command {
	s := &serveFlags{}
	var journal, cache string
	cmd := &cobra.Command{Use: "teacher", Short: "Serve a run's noisy soft labels", Args: noArgs,
		Long: "Serve a run's noisy soft labels. Several may serve one run, and come and go while it lasts: each gives the same answers.\n" +
			"Of a noise that is not replayable, one service gives the answers, and keeps them in its journal until a checkpoint covers them; start it again on the same host if it is lost.",
		Example: "  dither serve teacher --coordinator 10.0.0.1:7000 --listen 10.0.0.2:7001 --data data"}
	s.define(cmd, true)
	cmd.Flags().StringVar(&journal, "journal", "", "folder for the answers of a noise that is not replayable; default: dither/journal in the user's cache folder")
	cmd.Flags().StringVar(&cache, "teacher-cache-file", "", "keep the teacher's logits in this file, which others of this teacher and these images share, not in memory; made where it is not there")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := s.drain(cmd.Context())
		defer cancel()
		w, err := s.worker(ctx, false)
		if err != nil {
			return err
		}
		defer w.close()
		service, err := newTeacher(ctx, a, w, journal, cache)
		if err != nil {
			return err
		}
		defer service.Close()
		server := newService(grpc.MaxRecvMsgSize(trainer.MaxMessage), grpc.MaxSendMsgSize(trainer.MaxMessage),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second})) // trainers ask whether it lives, every 10 s
		ditherv1.RegisterTeacherServiceServer(server, service)
		host, _ := os.Hostname()
		me := &ditherv1.Member{Id: s.name("teacher"), Role: "teacher", Address: s.advertised(w.listener), KernelSet: w.kernels().Name(), Arithmetic: w.kernels().Arithmetic(),
			Version: versionString(), Process: fmt.Sprintf("%s:%d", host, os.Getpid()), TrainSha256: w.data.Train.Hash(), SpecSha256: w.run.GetSpecSha256()}
		if !service.Replayable() {
			me.Id = journalID
		}
		return serveTeacher(ctx, a, w, me, service, server)
	}
	return cmd
}

// newTeacher makes the service with what the coordinator has of the run.
func newTeacher(ctx context.Context, a *app, w *worker, journal, cache string) (*teacher.Service, error) {
	file, err := trainer.GetFile(ctx, w.client, ditherv1.FileKind_FILE_KIND_TEACHER)
	if err != nil {
		return nil, err
	}
	n, err := noise.New(w.run.GetSpec().GetNoise(), w.run.GetOptions().GetNoiseAddress())
	if err != nil {
		return nil, err
	}
	if journal == "" {
		// Without such a folder a noise that needs it is refused, with the flag to give.
		if cache, err := os.UserCacheDir(); err == nil {
			journal = filepath.Join(cache, "dither", "journal")
		}
	}
	if journal != "" {
		journal = filepath.Join(journal, fmt.Sprintf("%s-%.12s", w.run.GetRun(), w.run.GetSpecSha256()))
	}
	service, err := teacher.New(ctx, teacher.Config{Run: w.run, Kernels: w.kernels(), Data: w.data, File: file, Noise: n, Journal: journal, Cache: cache, Logger: a.log})
	if err != nil {
		n.Close()
		return nil, noiseError(err)
	}
	return service, nil
}

// serveTeacher answers until the run is over, ctx is, or another holds this service's place in the run.
func serveTeacher(ctx context.Context, a *app, w *worker, me *ditherv1.Member, service *teacher.Service, server *service) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	present := make(chan error, 1)
	go func() {
		defer done()
		present <- stayMember(ctx, a.log, w.members, me)
	}()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		defer done()
		followRun(ctx, leaderOf(w.members), w.client, service)
	}()
	a.log.Info("serving noisy soft labels", "address", me.GetAddress(), "run", w.run.GetRun(), "replayable", service.Replayable())
	err := server.serve(ctx, w.listener)
	done()
	<-followed
	if gone := <-present; err == nil {
		err = gone
	}
	return err
}
