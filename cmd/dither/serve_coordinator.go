package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator"
	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func newServeCoordinatorCommand(a *app) *cobra.Command {
	f, s := &runFlags{coordinates: true}, &serveFlags{}
	var dir, etcd string
	var resume, standby, official bool
	cmd := &cobra.Command{Use: "coordinator [SPEC.yaml]", Short: "Coordinate a run whose other roles are started by hand",
		Long:    "It makes the run's folder from the same flags as `dither run` (whose --teacher train it does not have: train the teacher as a run with --loss ce first), then waits for the roles.",
		Example: "  dither serve coordinator --dataset cifar10 --data data --teacher resnet20.th --trainers 2 --listen 10.0.0.1:7000 --out runs/first\n  dither serve coordinator --folder runs/first --resume --trainers 3 --listen 10.0.0.1:7000",
		Args:    cobra.MaximumNArgs(1)}
	f.define(cmd)
	s.define(cmd, false)
	cmd.Flags().StringVar(&dir, "folder", "", "the folder of a run that was made before, in place of a spec")
	cmd.Flags().BoolVar(&resume, "resume", false, "with --folder: go on from its newest checkpoint")
	cmd.Flags().BoolVar(&standby, "standby", false, "with --folder: stand in line behind the coordinator that leads, and take over when it is lost")
	cmd.Flags().BoolVar(&official, "data-official", false, "with --folder: the data's checksums are the official ones, as `dither run` has seen")
	_ = cmd.Flags().MarkHidden("data-official")
	cmd.Flags().StringVar(&etcd, "etcd", "", "HOST:PORT,... of an etcd to use; default: one embedded in this process")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := s.drain(cmd.Context())
		defer cancel()
		if resume && dir == "" {
			return badInputf("--resume goes with --folder DIR, the run to go on with")
		}
		if standby && (dir == "" || etcd == "") {
			return badInputf("--standby goes with --folder DIR and --etcd HOST:PORT,..., those of the coordinator that leads")
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
		c, err := coordinator.Start(context.WithoutCancel(ctx), coordinator.Config{Run: runName(hash, run.dir), Dir: run.dir, Spec: run.file.Spec, SpecSHA256: hash, Options: run.file.Options,
			Start: int(f.crew.start), Min: int(f.crew.min), Max: int(f.crew.max), Silence: f.silence, Standby: standby, NeedTeacher: run.file.Spec.GetTeacher() != nil, Etcd: endpoints, Listen: s.listen, Advertise: s.advertise, LeaseTTL: leadTTL,
			Version: versionString(), Files: run.files(), Resume: resume, WaitTimeout: f.wait, DataOfficial: official, Logger: a.log})
		if err != nil {
			return err
		}
		defer c.Close()
		at := listening{c.Address()}
		text, err := json.Marshal(at)
		if err != nil {
			return err
		}
		found, err := tellAddress(ctx, run, at, endpoints)
		if err != nil {
			return err
		}
		defer found()
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

// tellAddress keeps where the coordinator that leads is found in the run's folder: this one, from now on or from when it comes to lead. The end of it is to be called.
func tellAddress(ctx context.Context, run *folder, me listening, etcd []string) (end func(), err error) {
	text, err := json.Marshal(me)
	if err != nil {
		return nil, err
	}
	path := run.path(addressName)
	forget := func() {
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, text) { // else another leads by now
			_ = os.Remove(path)
		}
	}
	if len(etcd) == 0 { // its own: it leads
		return forget, replaceFile(path, text)
	}
	members, err := membership.Connect(ctx, etcd, runName(ditherv1.Hash(run.file.Spec), run.dir))
	if err != nil {
		return nil, temporary(err)
	}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	first := make(chan error, 1)
	done.Go(func() {
		for leader := range members.WatchLeader(watching) {
			var err error
			if leader == me.Address {
				err = replaceFile(path, text)
			}
			select {
			case first <- err: // whether or not it leads yet, who asks for it now is told
			default:
			}
		}
	})
	end = func() {
		cancel()
		done.Wait()
		_ = members.Close() // nothing was written there
		forget()
	}
	select {
	case err = <-first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
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
		if err := f.readTrainers(); err != nil {
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
