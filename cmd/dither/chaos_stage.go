package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dither-ml/dither/cmd/dither/chaos"
)

const retryPause = 200 * time.Millisecond // before a process that asked for a retry gets it, as a scheduler would

// stage is the processes of one run, each behind a proxy, so that whatever a schedule says can be done to them.
type stage struct {
	dir     string // holds the run's folder, the data of etcd and logs
	run     string // the run's folder
	name    string // of the run, in etcd
	options chaosOptions
	crew    *crew
	network *chaos.Network
	cluster string // of etcd
	etcd    string // its client addresses
	tending sync.WaitGroup
	moving  sync.Mutex // while a process is brought back, or all are

	mu       sync.Mutex
	actors   map[string]*actor // by place
	pids     map[int]string    // their places
	problems []string          // what no process may do, whatever is done to it
	broken   chan struct{}     // capacity 1: there is a problem
	full     bool              // the coordinators' disk is: everybody may end as he likes, until the run is resumed
	resuming bool              // coordinator-0 goes on from the newest checkpoint
}

// actor is a process in its place: one life after another.
type actor struct {
	place, kind string
	proxy, peer *chaos.Proxy // peer: where the other members of an etcd reach it
	lives       int
	child       *child
	away        bool // a fault took it down, and brings it back
}

func newStage(dir, run, name string, o chaosOptions) *stage {
	s := &stage{dir: dir, run: run, name: name, options: o, actors: map[string]*actor{}, pids: map[int]string{os.Getpid(): chaos.Observer}, broken: make(chan struct{}, 1)}
	s.crew = newCrew(dir, func(string) {})
	s.network = chaos.NewNetwork(s.dialer)
	return s
}

// dialer is the place that opened a connection to a proxy.
func (s *stage) dialer(c net.Conn) string {
	s.mu.Lock()
	pids := make(map[int]string, len(s.pids))
	for pid, place := range s.pids {
		pids[pid] = place
	}
	s.mu.Unlock()
	place, _ := chaos.Owner(c, pids)
	return place
}

// nextPort goes through ports that the system gives nobody by itself.
var nextPort atomic.Uint32

// freeAddress is one on which nobody listens now.
func freeAddress() (string, error) {
	for range 10000 {
		port := 12000 + (uint32(os.Getpid())*64+nextPort.Add(1))%18000
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no port is free on 127.0.0.1 between 12000 and 30000")
}

// add makes a place, with nobody in it yet.
func (s *stage) add(kind, place string) (a *actor, err error) {
	a = &actor{place: place, kind: kind}
	if a.proxy, err = s.network.Proxy(place, ""); err != nil {
		return nil, err
	}
	if kind == "etcd" {
		if a.peer, err = s.network.Proxy(place, ""); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actors[place] = a
	return a, nil
}

// bring starts the next life in a place; with answer it waits until that has said where it listens.
func (s *stage) bring(a *actor, answer *listening) error {
	at, err := freeAddress()
	if err != nil {
		return err
	}
	args, err := s.args(a, at)
	if err != nil {
		return err
	}
	a.proxy.Retarget(at)
	k, err := s.crew.start(&role{name: a.place, kind: a.kind}, args, answer)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.child, a.away = k, false
	s.pids[k.cmd.Process.Pid] = a.place
	s.tending.Go(func() { s.tend(a, k) })
	return nil
}

// args are the flags of a place's next life, which listens at an address.
func (s *stage) args(a *actor, at string) ([]string, error) {
	s.mu.Lock()
	a.lives++
	id, resuming := fmt.Sprintf("%s.%d", a.place, a.lives), s.resuming
	s.mu.Unlock()
	args := []string{flag("listen", at)}
	switch a.kind {
	case "etcd":
		peers, err := freeAddress()
		if err != nil {
			return nil, err
		}
		a.peer.Retarget(peers)
		return append(args, flag("peer-listen", peers), flag("name", a.place), flag("cluster", s.cluster), flag("folder", s.dir+"/"+a.place)), nil
	case "coordinator":
		args = append(args, flag("advertise", a.proxy.Address()), flag("etcd", s.etcd), flag("folder", s.run), flag("trainers", s.options.Trainers), flag("silence", s.options.Silence))
		switch {
		case resuming && a.place == "coordinator-0":
			args = append(args, "--resume")
		case a.lives > 1 || a.place != "coordinator-0":
			args = append(args, "--standby")
		}
		return args, nil
	}
	args = append(args, flag("advertise", a.proxy.Address()), flag("etcd", s.etcd), flag("run", s.name), flag("id", id), flag("threads", 1))
	if a.kind == "trainer" {
		args = append(args, "--tcp-only")
	}
	return args, nil
}

// tend sees how a life ends: whoever asks for a retry gets it, and whoever ends as nobody should is a problem.
func (s *stage) tend(a *actor, k *child) {
	<-k.done
	s.mu.Lock()
	delete(s.pids, k.cmd.Process.Pid)
	away, full := a.away || a.child != k, s.full
	s.mu.Unlock()
	if full || s.crew.isEnding() {
		return
	}
	switch code := k.code(); {
	case fateOf(code) == fails, code < 0 && !away:
		s.problem(fmt.Sprintf("%s: %v (exit code %d)", a.place, k.why(), code))
	case code == exitTemporary && !away:
		time.Sleep(retryPause)
		if err := s.bring(a, nil); err != nil && !s.crew.isEnding() {
			s.problem(fmt.Sprintf("%s cannot be started again: %v", a.place, err))
		}
	}
}

func (s *stage) problem(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, what)
	select {
	case s.broken <- struct{}{}:
	default:
	}
}

// firstProblem is empty where there is none.
func (s *stage) firstProblem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.problems, "; ")
}

// signal sends one to the process in a place, if it lives; away says that it does not come back by itself.
func (s *stage) signal(place string, with syscall.Signal, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.actors[place]
	if a == nil || a.child == nil || a.child.gone() {
		return
	}
	a.away = a.away || away
	_ = syscall.Kill(a.child.cmd.Process.Pid, with) // one that has just ended is as good
}

// back starts the next life in a place that a fault emptied.
func (s *stage) back(place string) {
	s.mu.Lock()
	a := s.actors[place]
	s.mu.Unlock()
	if a.kind != "etcd" { // which whoever resumes the run may be waiting for
		s.moving.Lock()
		defer s.moving.Unlock()
	}
	s.mu.Lock()
	there := a.child != nil && !a.away && !a.child.gone()
	s.mu.Unlock()
	if there { // as the run was resumed meanwhile
		return
	}
	if err := s.bring(a, nil); err != nil && !s.crew.isEnding() {
		s.problem(fmt.Sprintf("%s cannot be started again: %v", place, err))
	}
}

// raise starts every process of the run.
func (s *stage) raise(ctx context.Context) error {
	o := s.options
	var cluster, clients []string
	var members []*actor
	for i := range o.Etcd {
		a, err := s.add("etcd", fmt.Sprintf("etcd-%d", i))
		if err != nil {
			return err
		}
		members = append(members, a)
		cluster = append(cluster, a.place+"=http://"+a.peer.Address())
		clients = append(clients, a.proxy.Address())
	}
	s.cluster, s.etcd = strings.Join(cluster, ","), strings.Join(clients, ",")
	errs := make(chan error, len(members))
	for _, a := range members {
		go func() { errs <- s.bring(a, &listening{}) }() // each waits for more than half of them
	}
	for range members {
		if err := <-errs; err != nil {
			return err
		}
	}
	for _, k := range []struct {
		kind string
		n    int
	}{{"coordinator", o.Coordinators}, {"teacher", o.Teachers}, {"trainer", o.Trainers}} {
		for i := range k.n {
			if _, err := s.add(k.kind, fmt.Sprintf("%s-%d", k.kind, i)); err != nil {
				return err
			}
		}
	}
	return s.bringAll(ctx)
}

// roles are the kinds of processes that etcd outlives, in the order in which they start.
var roles = []string{"coordinator", "teacher", "trainer"}

// bringAll starts a life in every place but etcd's. The first coordinator is waited for, as etcd is by it.
func (s *stage) bringAll(ctx context.Context) error {
	for _, kind := range roles {
		for _, a := range s.of(kind) {
			if a.place != "coordinator-0" {
				if err := s.bring(a, nil); err != nil {
					return err
				}
				continue
			}
			for err := s.bring(a, &listening{}); err != nil; err = s.bring(a, &listening{}) {
				if exitCode(err) != exitTemporary || ctx.Err() != nil {
					return err
				}
				time.Sleep(retryPause)
			}
		}
	}
	return nil
}

// of are the actors of a kind, by place.
func (s *stage) of(kind string) (all []*actor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, place := range slices.Sorted(maps.Keys(s.actors)) {
		if a := s.actors[place]; a.kind == kind {
			all = append(all, a)
		}
	}
	return all
}

// clear ends every process.
func (s *stage) clear() {
	s.crew.close()
	s.mu.Lock()
	for _, a := range s.actors {
		if a.child != nil && !a.child.gone() {
			_ = syscall.Kill(a.child.cmd.Process.Pid, syscall.SIGKILL) // whether or not it is frozen
		}
	}
	s.mu.Unlock()
	s.crew.end(0)
	s.tending.Wait()
	s.network.Close()
}
