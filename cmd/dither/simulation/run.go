package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	// limit is how long after the last fault is over a run may take to end: a trainer that was kept out for half a minute, and the iterations.
	limit = 3 * time.Minute
	// farewell is how long after that the trainers may take to go.
	farewell = 2 * time.Minute
)

// report is how a schedule went.
type report struct {
	defects     []string
	hash        string // of all that happened
	trace       []string
	virtual     time.Duration
	generations uint64
	lines       int
}

// play runs the schedule, in a bubble.
func (w *world) play() report {
	w.teach()
	for i := range w.Candidates {
		w.coordinate(fmt.Sprintf("c%d", i))
		time.Sleep(lattice(time.Millisecond, "begin"))
	}
	for i := range w.Start {
		w.start(fmt.Sprintf("t%d", i))
		time.Sleep(lattice(time.Millisecond, "begin"))
	}
	bound, cancel := context.WithCancel(context.Background())
	over := func() bool { return w.result != nil || len(w.defects) > 0 }
	for i, e := range w.Events {
		until, cancel := context.WithTimeout(bound, lattice(e.At-time.Since(w.began), fmt.Sprint("event ", i)))
		ended := w.await(until, over) == nil
		cancel()
		if ended {
			break
		}
		w.happen(i, e)
	}
	settled, done := context.WithTimeout(bound, max(0, w.Healed-time.Since(w.began)))
	ended := w.await(settled, over) == nil
	done()
	if !ended {
		w.note("every fault is over")
	}
	for late := time.Now().Add(limit); !ended; { // what ended only now is missing too
		w.restore()
		look, done := context.WithTimeout(bound, lattice(time.Second, "supervisor"))
		ended = w.await(look, over) == nil
		done()
		if !ended && time.Now().After(late) {
			_ = w.defect("the run did not end within %v: %s", limit, w.standing())
			break
		}
	}
	w.check()
	if len(w.defects) == 0 {
		w.farewell()
	}
	virtual := time.Since(w.began)
	w.clear()
	cancel()
	w.all.Wait()
	time.Sleep(time.Second) // what nobody waits for has ended too, or the bubble says what has not
	w.net.Close()
	r := report{hash: w.hash(), trace: w.trace, defects: w.defects, virtual: virtual, lines: len(w.trace)}
	if g, _ := w.etcd.Run(runName).Generation(context.Background()); g != nil {
		r.generations = g.GetNumber()
	}
	return r
}

// happen lets one event take place. One that has nobody to happen to is left out.
func (w *world) happen(i int, e Event) {
	w.note("event: %s", strings.TrimSpace(e.String()))
	p, c := w.process(e.Who), w.candidate(e.Who)
	after := func(undo func()) {
		w.all.Go(func() {
			time.Sleep(lattice(e.For, fmt.Sprint("end ", i)))
			w.note("over: %s", strings.TrimSpace(e.String()))
			undo()
		})
	}
	switch e.Kind {
	case Kill:
		if c != nil {
			c.kill()
		} else if p != nil {
			p.kill()
		}
	case Start:
		if p == nil {
			w.start(e.Who)
		}
	case Drain:
		if p != nil {
			w.change(func() {
				if !p.drained {
					p.drained = true
					close(p.drain)
				}
			})
		}
	case Freeze:
		w.freeze(e.Who, 1)
		after(func() { w.freeze(e.Who, -1) })
	case Cut:
		w.cut(e.Who, e.Other, 1)
		after(func() { w.cut(e.Who, e.Other, -1) })
	case Break, Slow:
		if q := w.process(e.Other); p != nil && q != nil {
			if e.Kind == Break {
				w.net.Break(p.member.GetAddress(), q.member.GetAddress())
			} else {
				w.net.Slow(p.member.GetAddress(), q.member.GetAddress(), e.For)
			}
		}
	case TeacherOff:
		w.change(func() { w.teacher++ })
		w.teach()
		after(func() {
			w.change(func() { w.teacher-- })
			w.teach()
		})
	case EtcdOff:
		w.change(func() { w.etcdOff++; w.leases() })
		after(func() { w.change(func() { w.etcdOff--; w.leases() }) })
	case Close:
		if c != nil {
			c.close()
		}
	case StartCoord:
		w.all.Go(func() { w.coordinate(e.Who) })
	}
}

// process is the living one of a host; nil: none.
func (w *world) process(host string) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		if p.host == host && !p.dead {
			return p
		}
	}
	return nil
}

func (w *world) candidate(host string) *candidate {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.leaders {
		if c.host == host && !c.dead && !c.closing {
			return c
		}
	}
	return nil
}

func (w *world) freeze(host string, by int) {
	w.change(func() {
		h := w.host(host)
		h.frozen += by
		for _, p := range w.processes {
			if p.host != host {
				continue
			}
			if h.frozen > 0 {
				w.net.Freeze(p.member.GetAddress())
			} else {
				w.net.Thaw(p.member.GetAddress())
			}
		}
		w.leases()
	})
}

func (w *world) cut(a, b string, by int) {
	w.change(func() {
		w.cuts[pair(a, b)] += by
		for _, p := range w.processes {
			for _, q := range w.processes {
				if p.host != a || q.host != b {
					continue
				}
				if w.cuts[pair(a, b)] > 0 {
					w.net.Cut(p.member.GetAddress(), q.member.GetAddress())
				} else {
					w.net.Heal(p.member.GetAddress(), q.member.GetAddress())
				}
			}
		}
		w.leases()
	})
}

// teach puts the teacher-logit service into etcd, or takes it out.
func (w *world) teach() {
	w.mu.Lock()
	here := w.teacher == 0
	w.mu.Unlock()
	if !here {
		w.etcd.Expire(runName, "teacher")
		return
	}
	_, _ = w.etcd.Run(runName).Join(context.Background(), &ditherv1.Member{Id: "teacher", Role: "teacher", Address: "teacher", Process: "teacher:1", Version: version}, w.Lease)
}

// restore starts what is missing for the run to end.
func (w *world) restore() {
	if w.candidate("c0") == nil && w.candidate("c1") == nil {
		w.coordinate("c0")
	}
	w.mu.Lock()
	var alive int
	for _, p := range w.processes {
		if !p.dead && !p.drained {
			alive++
		}
	}
	w.mu.Unlock()
	for i := 0; alive < w.Start; i++ {
		if host := fmt.Sprintf("t%d", 90+i); w.process(host) == nil {
			w.start(host)
			alive++
		}
	}
}

// farewell waits until every process has gone by itself.
func (w *world) farewell() {
	if w.LateKill {
		w.ender.kill()
	}
	late, done := context.WithTimeout(context.Background(), farewell)
	defer done()
	// Who is not in the last generation waits for a coordinator, and there may be none any more.
	last, _ := w.etcd.Run(runName).Generation(late)
	err := w.await(late, func() bool {
		return !slices.ContainsFunc(w.processes, func(p *process) bool {
			return !p.dead && slices.ContainsFunc(last.GetTrainers(), func(m *ditherv1.Member) bool { return m.GetAddress() == p.member.GetAddress() })
		})
	})
	w.mu.Lock()
	unheard := w.LateKill || w.etcdAway
	w.mu.Unlock()
	if err != nil {
		_ = w.defect("trainers are still there %v after the run ended: %s", farewell, w.standing())
	}
	if unheard { // the result may not be in etcd
		return
	}
	err = w.await(late, func() bool {
		return !slices.ContainsFunc(w.leaders, func(c *candidate) bool { return !c.dead && !c.closing && c.result == nil })
	})
	if err != nil {
		_ = w.defect("a coordinator in line does not know %v after the run ended that it is over", farewell)
	}
}

// clear ends all that is left.
func (w *world) clear() {
	w.change(func() {
		for _, h := range w.hosts {
			h.frozen = 0
		}
		clear(w.cuts)
		w.etcdOff, w.teacher = 0, 0
	})
	for _, p := range w.processes {
		p.kill()
		<-p.done
	}
	for _, c := range w.leaders {
		c.kill()
		<-c.buried
	}
}

// standing says where everybody stands.
func (w *world) standing() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, p := range w.processes {
		if !p.dead {
			fmt.Fprintf(&b, "%s is after iteration %d; ", p.member.GetAddress(), p.applied)
		}
	}
	leader, _ := w.etcd.Run(runName).Leader(context.Background())
	g, _ := w.etcd.Run(runName).Generation(context.Background())
	fmt.Fprintf(&b, "%q leads; generation %d is in force", leader, g.GetNumber())
	return b.String()
}

var _ membership.Registry = (*registry)(nil)
