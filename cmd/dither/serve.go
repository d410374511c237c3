package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/dither-ml/dither/coordinator"
	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/kernel"
)

// leaseTTL is how long a role may be silent before the others think it gone.
const leaseTTL = 10 * time.Second

func newServeCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{Use: "serve", Short: "Be one role of a run: coordinator, trainer, teacher or noise",
		Example: "  dither serve coordinator --dataset cifar10 --teacher resnet20.th --trainers 2 --listen 10.0.0.1:7000 --out runs/first\n" +
			"  dither serve teacher --coordinator 10.0.0.1:7000 --listen 10.0.0.2:7001 --data data\n" +
			"  dither serve trainer --coordinator 10.0.0.1:7000 --listen 10.0.0.3:7002 --data data"})
	cmd.AddCommand(newServeCoordinatorCommand(a), newServeTeacherCommand(a), newServeTrainerCommand(a), newNoiseServeCommand(a, "noise", "dither serve noise"))
	return cmd
}

// serveFlags is what every role takes.
type serveFlags struct {
	attached                           bool
	listen, advertise, coordinator, id string
	data, kernels                      string
	threads                            int
	wait                               time.Duration
}

func (f *serveFlags) define(c *cobra.Command, worker bool) {
	s := c.Flags()
	s.BoolVar(&f.attached, "attached", false, "end when standard input does: for a role that `dither run` starts")
	_ = s.MarkHidden("attached")
	s.StringVar(&f.listen, "listen", "127.0.0.1:0", "HOST:PORT to listen on; port 0: any that is free")
	s.StringVar(&f.advertise, "advertise", "", "HOST:PORT under which others reach it; default: where it listens")
	if !worker {
		return
	}
	s.StringVar(&f.coordinator, "coordinator", "", "HOST:PORT of the run's coordinator")
	s.StringVar(&f.data, "data", "data", "folder that holds the data set")
	s.StringVar(&f.kernels, "kernels", "auto", "kernel set: auto (the fastest here), generic, avx2 or avx512")
	s.StringVar(&f.id, "id", "", "its name in the run; default: host and process")
	s.IntVar(&f.threads, "threads", 0, "threads; 0: one for each processor")
	s.DurationVar(&f.wait, "wait", time.Minute, "how long to wait for the coordinator")
}

// drain is over when the role should leave in order: a signal, or the end of the `dither run` that started it.
func (f *serveFlags) drain(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if f.attached {
		follow(cancel)
	}
	return ctx, cancel
}

func (f *serveFlags) advertised(l net.Listener) string {
	if f.advertise != "" {
		return f.advertise
	}
	return l.Addr().String()
}

// name is the role's id in the run.
func (f *serveFlags) name(role string) string {
	if f.id != "" {
		return f.id
	}
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%s-%d", role, host, os.Getpid())
}

// join asks the coordinator for the run and connects to its etcd.
func (f *serveFlags) join(ctx context.Context) (ditherv1.CoordinatorServiceClient, *ditherv1.GetRunResponse, *membership.Client, error) {
	if f.coordinator == "" {
		return nil, nil, nil, badInputf("--coordinator is missing; give HOST:PORT of the run's coordinator")
	}
	client, _, err := coordinator.Dial(ctx, f.coordinator)
	if err != nil {
		return nil, nil, nil, err
	}
	asking, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	run, err := client.GetRun(asking, &ditherv1.GetRunRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil, nil, nil, temporary(fmt.Errorf("no coordinator answers at %s within %v: %s; start one with `dither serve coordinator`, or check the address", f.coordinator, f.wait, ditherv1.Message(err)))
	}
	members, err := membership.Connect(ctx, run.GetEtcd(), run.GetRun())
	if err != nil {
		return nil, nil, nil, temporary(err)
	}
	return client, run, members, nil
}

func (f *serveFlags) open(run *ditherv1.GetRunResponse, test bool) (*dataloader.Set, error) {
	d := run.GetSpec().GetDataset()
	set, err := dataloader.Open(d.GetName(), f.data, dataloader.Options{TrainLimit: int(d.GetTrainLimit()), TestLimit: int(d.GetTestLimit()), SkipTest: !test})
	if err != nil {
		return nil, badInput(err)
	}
	return set, nil
}

func newServeCoordinatorCommand(a *app) *cobra.Command {
	f, s := &runFlags{}, &serveFlags{}
	var dir, etcd string
	var resume, official bool
	var wait time.Duration
	cmd := &cobra.Command{Use: "coordinator [SPEC.yaml]", Short: "Coordinate a run whose other roles are started by hand",
		Long:    "It makes the run's folder from the same flags as `dither run` (whose --teacher train it does not have: train the teacher as a run with --loss ce first), then waits for the roles.",
		Example: "  dither serve coordinator --dataset cifar10 --data data --teacher resnet20.th --trainers 2 --listen 10.0.0.1:7000 --out runs/first\n  dither serve coordinator --folder runs/first --resume --trainers 3 --listen 10.0.0.1:7000",
		Args:    cobra.MaximumNArgs(1)}
	f.define(cmd)
	s.define(cmd, false)
	cmd.Flags().StringVar(&dir, "folder", "", "the folder of a run that was made before, in place of a spec")
	cmd.Flags().BoolVar(&resume, "resume", false, "with --folder: go on from its newest checkpoint")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for trainers and teacher; 0: for ever")
	cmd.Flags().BoolVar(&official, "data-official", false, "with --folder: the data's checksums are the official ones, as `dither run` has seen")
	_ = cmd.Flags().MarkHidden("data-official")
	cmd.Flags().StringVar(&etcd, "etcd", "", "HOST:PORT,... of an etcd to use; default: one embedded in this process")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := s.drain(cmd.Context())
		defer cancel()
		if resume && dir == "" {
			return badInputf("--resume goes with --folder DIR, the run to go on with")
		}
		run, err := coordinatorFolder(ctx, a, f, dir, append(args, "")[0])
		if err != nil {
			return err
		}
		if run.data != nil {
			official = run.data.Official
		}
		var endpoints []string
		if etcd != "" {
			endpoints = strings.Split(etcd, ",")
		}
		hash := ditherv1.Hash(run.file.Spec)
		trainers := int(f.trainers)
		c, err := coordinator.Start(context.WithoutCancel(ctx), coordinator.Config{Run: runName(hash, run.dir), Dir: run.dir, Spec: run.file.Spec, SpecSHA256: hash, Options: run.file.Options,
			Trainers: trainers, NeedTeacher: run.file.Spec.GetTeacher() != nil, Etcd: endpoints, Listen: s.listen, Advertise: s.advertise, LeaseTTL: leaseTTL,
			Version: versionString(), Files: run.files(), Resume: resume, WaitTimeout: wait, DataOfficial: official, Logger: a.log})
		if err != nil {
			return err
		}
		defer c.Close()
		at := listening{c.Address()}
		text, err := json.Marshal(at)
		if err != nil {
			return err
		}
		if err := replaceFile(run.path(addressName), text); err != nil {
			return err
		}
		defer os.Remove(run.path(addressName))
		if _, err := fmt.Fprintf(a.stdout, "%s\n", text); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { c.Stop("the coordinator was asked to stop") })
		defer stop()
		r, err := c.Wait(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		a.log.Info("the run is over", "phase", r.GetPhase(), "reason", r.GetReason(), "iteration", r.GetIteration(), "parameters", r.GetParametersSha256())
		return ending(r, run.dir)
	}
	return cmd
}

// ending is a run's end as a command's.
func ending(r *ditherv1.RunResult, dir string) error {
	switch {
	case r.GetPhase() == "finished":
		return nil
	case r.GetPhase() == "stopped":
		return stopped(fmt.Errorf("%s; go on with `dither serve coordinator --folder %s --resume`", r.GetReason(), dir))
	case r.GetTemporary():
		return temporary(errors.New(r.GetReason()))
	}
	return errors.New(r.GetReason())
}

// coordinatorFolder is the folder of a run that was made before, without its data, or a new one.
func coordinatorFolder(ctx context.Context, a *app, f *runFlags, dir, specFile string) (*folder, error) {
	if dir != "" {
		if specFile != "" {
			return nil, badInputf("%s and --folder %s both say which run; leave one of them out", specFile, dir)
		}
		if err := f.refuseSpec(); err != nil {
			return nil, err
		}
		file, err := readRunFile(filepath.Join(dir, specName))
		if err != nil {
			return nil, err
		}
		return &folder{dir: dir, file: file}, f.checkTrainers(file.GetSpec().GetShards())
	}
	d, err := newDraft(f, specFile)
	if err != nil {
		return nil, err
	}
	d.warn(a)
	var t any
	path := d.teacherPath()
	switch path {
	case "none":
		d.file.Spec.Teacher = nil
	case "train":
		return nil, badInputf("--teacher train is of `dither run`: train the teacher as a run with --loss ce, and give its checkpoint as --teacher FILE")
	default:
		if t, err = d.teacherOf(path); err != nil {
			return nil, err
		}
	}
	return d.write(ctx, t, d.initPath())
}

// worker is a role that computes: it listens, has heard of the run from its coordinator, and has the data and kernels.
type worker struct {
	listener net.Listener
	client   ditherv1.CoordinatorServiceClient
	run      *ditherv1.GetRunResponse
	members  *membership.Client
	data     *dataloader.Set
	kernels  kernel.Set
}

// worker makes the role ready; it needs the test images where it evaluates.
func (f *serveFlags) worker(ctx context.Context, test bool) (_ *worker, err error) {
	w := &worker{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.listener, err = listen("--listen", f.listen); err != nil {
		return nil, err
	}
	if w.client, w.run, w.members, err = f.join(ctx); err != nil {
		return nil, err
	}
	if w.data, err = f.open(w.run, test); err != nil {
		return nil, err
	}
	w.kernels, err = openKernels(f.kernels, f.threads)
	return w, err
}

func (w *worker) close() {
	if w.kernels != nil {
		w.kernels.Close()
	}
	if w.listener != nil {
		w.listener.Close()
	}
}
