package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	askAgain = time.Second     // between two looks at a run that lacks a role
	lastWord = 2 * time.Second // for the coordinator, when the etcd is gone
)

// execution is one pass through a run: its roles as children of this process, which holds the etcd that outlives any of them.
type execution struct {
	*job
	crew    *crew
	etcd    *membership.Embedded
	run     string // its name in etcd
	members *membership.Client
}

// execute starts the roles as children, follows the run, and leaves no child behind.
func (j *job) execute(resumed bool) (_ *ditherv1.RunResult, err error) {
	f := j.folder
	if j.lock == nil {
		if j.lock, err = waitLock(j.interrupted, f.path(lockName)); errors.Is(err, errBusy) {
			return nil, badInputf("the run in %s is going on in another process; `dither watch %s` follows it", f.dir, f.dir)
		} else if err != nil {
			return nil, err
		}
		defer j.lock.Close()
	}
	if err := j.setStopAfter(); err != nil {
		return nil, err
	}
	etcd, err := membership.Embed(f.path(etcdName), membership.EmbedOptions{})
	if err != nil {
		return nil, err
	}
	defer etcd.Close()
	e := &execution{job: j, etcd: etcd, run: runName(ditherv1.Hash(f.file.Spec), f.dir)}
	if e.members, err = etcd.Connect(context.Background(), e.run); err != nil {
		return nil, err
	}
	defer e.members.Close()
	e.crew = newCrew(f.dir, func(line string) { fmt.Fprintf(j.app.stderr, "%s: %s\n", j.title(), line) })
	e.crew.lock = j.lock
	defer os.Remove(f.path(addressName))
	defer e.crew.end(0)
	if err := e.start(resumed); err != nil {
		return nil, err
	}
	return e.follow()
}

// start starts every role.
func (e *execution) start(resumed bool) error {
	f, flags := e.folder, e.flags
	etcd := flag("etcd", strings.Join(e.etcd.Endpoints(), ","))
	first := true
	if err := e.crew.run(&role{name: "coordinator", kind: "coordinator", over: e.overSince, said: func(listening) {}, args: func(string) []string {
		args := []string{flag("folder", f.dir), flag("trainers", flags.trainers), flag("silence", flags.silence), flag("wait", flags.wait), flag("data-official", f.data.Official), etcd}
		switch {
		case !first:
			args = append(args, "--standby") // takes over from the one that was lost
		case resumed:
			args = append(args, "--resume")
		}
		first = false
		return args
	}}); err != nil {
		return err
	}
	trainers := flags.crew.children
	threads := flag("threads", threadsEach(flags.threads, trainers, runtime.GOMAXPROCS(0)))
	worker := func(id string) []string {
		return []string{etcd, flag("run", e.run), flag("id", id), flag("data", flags.data), flag("kernels", flags.kernels), threads}
	}
	if f.file.Spec.GetTeacher() != nil {
		// What a noise that is not replayable has answered is the run's.
		teacher := func(id string) []string {
			args := append(worker(id), flag("journal", f.path(journalName)))
			if flags.cacheFile != "" {
				args = append(args, flag("teacher-cache-file", flags.cacheFile))
			}
			return args
		}
		if err := e.crew.run(&role{name: "teacher", kind: "teacher", args: teacher}); err != nil {
			return err
		}
	}
	trainer := func(id string) []string {
		return append(worker(id), flag("share-gpu", flags.shareGPU), flag("gpus", flags.gpus))
	}
	for i := range trainers {
		if err := e.crew.run(&role{name: fmt.Sprintf("trainer-%d", i), kind: "trainer", args: trainer}); err != nil {
			return err
		}
	}
	return nil
}

// overSince says whether the run came to its result since a time.
func (e *execution) overSince(t time.Time) bool {
	info, err := os.Stat(e.folder.path(runlog.ResultFile))
	return err == nil && !info.ModTime().Before(t)
}

// title names the run on the screen.
func (j *job) title() string {
	switch {
	case j.folder.file.Spec.GetTeacher() != nil:
		return "student"
	case j.teacherOnly:
		return "teacher"
	}
	return "training"
}

// follow shows the run until it is over, or lacks a role that does not come back.
func (e *execution) follow() (*ditherv1.RunResult, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &watcher{app: e.app, title: e.title(), batch: e.folder.file.Spec.GetBatch(), seen: e.seen}
	w.reach = func(ctx context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
		return dialLeader(ctx, e.members)
	}
	w.interrupted = e.interrupted
	type end struct {
		result *ditherv1.RunResult
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		r, err := w.follow(ctx)
		ended <- end{r, err}
	}()
	var again <-chan time.Time
	var lost error // its etcd, for that
	for {
		select {
		case end := <-ended:
			if end.err != nil {
				return nil, errors.Join(e.crew.firstFailure(), end.err)
			}
			if lost == nil { // else nobody can take leave
				e.crew.end(2 * parting)
			}
			return end.result, nil
		case err := <-e.etcd.Failed():
			// Of the same full disk, the coordinator may end the run at the same time, and say more.
			lost, again = etcdEnded(e.folder.path(etcdName), err), time.After(lastWord)
		case <-e.crew.news:
			// In training, the coordinator may know better what a lost child means; before, nobody else can tell.
			if e.crew.rested() == nil && e.hopeless(ctx, true) {
				return nil, e.failure(e.crew.firstFailure())
			}
			again = time.After(parting)
		case <-again:
			switch k := e.crew.rested(); {
			case lost != nil:
				return nil, e.failure(lost)
			case k != nil:
				return e.recorded(k)
			case e.hopeless(ctx, false):
				return nil, e.failure(e.crew.firstFailure())
			}
			again = time.After(askAgain)
		}
	}
}

// recorded is how the run ended by what its coordinator wrote, where that has left and its word was not heard.
func (e *execution) recorded(coordinator *child) (*ditherv1.RunResult, error) {
	r, err := runlog.ReadResult(e.folder.dir)
	if err != nil {
		return nil, e.failure(coordinator.why())
	}
	return &ditherv1.RunResult{Phase: r.Phase, Reason: r.Reason, Iteration: r.Iterations, Generations: r.Generations, Diverged: r.Diverged,
		Temporary: coordinator.code() == exitTemporary, ParametersSha256: r.ParametersSHA256, KernelSets: r.KernelSets, Seconds: r.Seconds}, nil
}

// failure is the end of a run without its coordinator's word: why, and what is kept of it.
func (e *execution) failure(why error) error {
	path, err := lastCheckpoint(e.folder.dir)
	if err != nil { // nothing is
		return why
	}
	return withCode(exitCode(why), fmt.Errorf("%w; the last checkpoint is %s; go on with `dither run --resume %s`", why, path, e.folder.dir))
}

// hopeless says whether the run lacks a role that does not come back, and its coordinator does not end it. One in training is given time to.
func (e *execution) hopeless(ctx context.Context, patient bool) bool {
	size := e.flags.crew
	needed := size.min
	s := e.status(ctx)
	if s.GetGeneration() == 0 {
		needed = size.start
	}
	if !e.crew.beyondRepair(size.children, needed) {
		return false
	}
	switch s.GetPhase() {
	case "stopping", "stopped", "failed", "finished":
		return false
	case "training":
		return !patient
	}
	return true
}

// status is what the coordinator that leads says; nil where none answers.
func (e *execution) status(ctx context.Context) *ditherv1.StatusResponse {
	client, conn, err := dialLeader(ctx, e.members)
	if err != nil {
		return nil
	}
	defer conn.Close()
	bound, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	s, err := client.Status(bound, &ditherv1.StatusRequest{})
	if err != nil {
		return nil
	}
	return s
}
