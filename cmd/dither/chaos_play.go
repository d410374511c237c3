package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dither-ml/dither/cmd/dither/chaos"
	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// mend is how long a run may take beyond its schedule and the quiet run's time: nothing is done to it then, and it must end.
const mend = 90 * time.Second

// outcome is what came of one schedule.
type outcome struct {
	Seed        uint64    `json:"seed"`
	OK          bool      `json:"ok"`
	Reason      string    `json:"reason"` // why not
	Schedule    string    `json:"schedule"`
	Faults      int       `json:"faults"`
	Played      int       `json:"played"` // of them, before the run was over
	Generations uint64    `json:"generations"`
	Unrecorded  int       `json:"unrecorded"` // iterations whose record no process had any more
	Seconds     float64   `json:"seconds"`
	Recovery    []float64 `json:"recovery_seconds"` // from each kill of a trainer of the generation to the first iteration of a later one
	Logs        string    `json:"logs"`
}

// play is one run under one schedule.
type play struct {
	stage    *stage
	schedule chaos.Schedule
	members  *membership.Client
	busy     sync.WaitGroup

	mu         sync.Mutex
	began      chan struct{} // closed at the first iteration
	seen       map[uint32]bool
	moments    []moment // of iterations, as they were first heard of
	generation *ditherv1.Generation
	kills      []moment
	filled     *fullDisk // nil: the disk was never full
}

// moment is when something happened, and in which generation.
type moment struct {
	at         time.Time
	generation uint64
}

// playSchedule plays a schedule on a run of its own, and compares what came of it with the quiet run.
func playSchedule(ctx context.Context, a *app, quiet *quietRun, s chaos.Schedule, dir string, o chaosOptions) outcome {
	began := time.Now()
	out := outcome{Seed: s.Seed, Schedule: s.String(), Faults: len(s.Faults), Logs: filepath.Join(dir, "logs")}
	run := filepath.Join(dir, "run")
	name, err := quiet.prepare(run)
	if err != nil {
		out.Reason = err.Error()
		return out
	}
	p := &play{stage: newStage(dir, run, name, o), schedule: s, began: make(chan struct{}), seen: map[uint32]bool{}}
	result, err := p.perform(ctx, a, o.length()+quiet.took+mend, &out)
	out.Seconds = time.Since(began).Seconds()
	out.Recovery = p.recoveries()
	switch problem := p.stage.firstProblem(); {
	case problem != "":
		out.Reason = problem
	case err != nil:
		out.Reason = err.Error()
	default:
		out.Generations = result.GetGenerations()
		out.Reason, out.Unrecorded = quiet.differs(result, run, s.MayLoseRecords(o.Trainers))
	}
	out.OK = out.Reason == ""
	return out
}

// perform raises the stage, plays, and waits for the run's result.
func (p *play) perform(ctx context.Context, a *app, patience time.Duration, out *outcome) (*ditherv1.RunResult, error) {
	defer p.stage.clear()
	if err := p.stage.raise(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	if p.members, err = membership.Connect(ctx, strings.Split(p.stage.etcd, ","), p.stage.name); err != nil {
		return nil, err
	}
	defer p.members.Close()
	defer p.busy.Wait()
	defer cancel()
	p.busy.Go(func() {
		for g := range p.members.WatchGeneration(ctx) {
			p.mu.Lock()
			p.generation = g
			p.mu.Unlock()
		}
	})
	p.busy.Go(func() { out.Played = p.act(ctx) })
	w := &watcher{app: newApp(io.Discard, io.Discard), seen: p.hear}
	w.reach = func(ctx context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
		return dialLeader(ctx, p.members)
	}
	type end struct {
		result *ditherv1.RunResult
		err    error
	}
	ended := make(chan end, 1)
	p.busy.Go(func() {
		r, err := w.follow(ctx)
		for err == nil && p.onFullDisk(ctx, r) {
			r, err = w.follow(ctx)
		}
		ended <- end{r, err}
	})
	select {
	case e := <-ended:
		if e.err != nil {
			return nil, fmt.Errorf("the run did not end within %v: %w; last it was %s", patience, e.err, p.describe())
		}
		return e.result, nil
	case <-p.stage.broken:
		return nil, fmt.Errorf("the run broke")
	}
}

// describe is the run's status, as far as anybody answers.
func (p *play) describe() string {
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	client, conn, err := dialLeader(ctx, p.members)
	if err != nil {
		return fmt.Sprintf("without a coordinator (%v)", err)
	}
	defer conn.Close()
	s, err := client.Status(ctx, &ditherv1.StatusRequest{})
	if err != nil {
		return fmt.Sprintf("led by a coordinator that does not answer (%v)", err)
	}
	var b strings.Builder
	printStatus(&b, s)
	return b.String()
}

// hear notes what the run tells.
func (p *play) hear(e *ditherv1.WatchResponse) {
	r := e.GetIteration()
	if r == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[r.GetIteration()] {
		return
	}
	if p.seen[r.GetIteration()] = true; len(p.seen) == 1 {
		close(p.began)
	}
	p.moments = append(p.moments, moment{time.Unix(0, e.GetTimeUnixNanos()), r.GetGeneration()})
}

// act does what the schedule says, from the first iteration on, and gives how many faults were begun.
func (p *play) act(ctx context.Context) (played int) {
	select {
	case <-p.began:
	case <-ctx.Done():
		return 0
	}
	type action struct {
		at time.Duration
		do func()
	}
	var actions []action
	for _, f := range p.schedule.Faults {
		end := func() {}
		actions = append(actions, action{f.At, func() {
			played++
			end = p.begin(ctx, f)
		}}, action{f.At + f.For, func() { end() }})
	}
	slices.SortStableFunc(actions, func(a, b action) int { return int(a.at - b.at) })
	start := time.Now()
	for _, x := range actions {
		select {
		case <-time.After(time.Until(start.Add(x.at))):
			x.do()
		case <-ctx.Done():
			return played
		}
	}
	return played
}

// begin does a fault, and gives what ends it.
func (p *play) begin(ctx context.Context, f chaos.Fault) (end func()) {
	s := p.stage
	down := func(with syscall.Signal) func() {
		s.signal(f.Target, with, true)
		return func() { s.back(f.Target) }
	}
	switch {
	case f.Kind == chaos.Freeze || f.Frozen:
		s.signal(f.Target, syscall.SIGSTOP, false)
		return func() { s.signal(f.Target, syscall.SIGCONT, false) }
	case f.Kind == chaos.Term:
		return down(syscall.SIGTERM)
	case f.Kind == chaos.Cut:
		return s.network.Cut(f.Target, f.Peer, f.Silent)
	case f.Kind == chaos.Delay:
		return s.network.Delay(f.Target, f.Peer, f.Delay)
	case f.Kind == chaos.Join:
		if _, err := s.add("trainer", f.Target); err != nil {
			s.problem(err.Error())
			return func() {}
		}
		s.back(f.Target)
		return func() {}
	case f.Kind == chaos.Disk:
		p.busy.Go(func() { p.fillDisk(ctx) })
		return func() {}
	}
	p.noteKill(f)
	return down(syscall.SIGKILL)
}

// noteKill keeps when a trainer that is in the generation is killed.
func (p *play) noteKill(f chaos.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Kind != chaos.Kill {
		return
	}
	for _, m := range p.generation.GetTrainers() {
		if place, _, _ := strings.Cut(m.GetId(), "."); place == f.Target {
			p.kills = append(p.kills, moment{time.Now(), p.generation.GetNumber()})
		}
	}
}

// recoveries are the seconds from each kill of a trainer that was in the generation to the first iteration that was applied in a later one.
func (p *play) recoveries() []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []float64
	for _, k := range p.kills {
		for _, m := range p.moments {
			if m.generation > k.generation && m.at.After(k.at) {
				out = append(out, m.at.Sub(k.at).Seconds())
				break
			}
		}
	}
	return out
}
