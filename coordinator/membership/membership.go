// Package membership is how the processes of a run find each other, by way of etcd: who is there (a key under a lease for each process),
// which coordinator leads (an election), and which trainers own which shards (one generation key, written by the leader alone).
//
//	/dither/RUN/members/ROLE/ID   a Member, under the process's lease
//	/dither/RUN/leader/LEASE      a coordinator that leads or stands in line, under its lease
//	/dither/RUN/generation        the Generation in force
//	/dither/RUN/papers/NAME       what a leader leaves for the next one: the spec, the log, the result
//
// Values are JSON, so that `etcdctl get --prefix /dither/RUN` can be read.
package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

var (
	// ErrTaken is for a Join under an id that another process holds.
	ErrTaken = errors.New("the id is taken")
	// ErrDeposed is for a write by a coordinator that no longer leads.
	ErrDeposed = errors.New("this coordinator no longer leads the run")
	// ErrStale is for a generation that is not the successor of the one in force.
	ErrStale = errors.New("the generation is not the successor of the one in force")
)

// Registry is one run's membership. Client and Fake implement it; both are safe for concurrent use.
//
// A channel that a Watch returns gives the present value first (generations: if there is one), then the newest one after each change. A
// reader that falls behind skips values that were overtaken, never the last one. It is closed when the context ends.
type Registry interface {
	// Join enters m under a lease of ttl that is kept alive until Leave. ErrTaken if role and id are held by another.
	Join(ctx context.Context, m *ditherv1.Member, ttl time.Duration) (*Lease, error)
	// Members are those who are there, by role and id.
	Members(ctx context.Context) ([]*ditherv1.Member, error)
	// WatchMembers follows Members.
	WatchMembers(ctx context.Context) <-chan []*ditherv1.Member
	// Campaign waits until the candidate leads, or the context ends; a lease that ends in line ends it too. The leadership's lease of ttl is kept alive.
	Campaign(ctx context.Context, candidate string, ttl time.Duration) (*Leadership, error)
	// Leader names the candidate that leads; empty: none.
	Leader(ctx context.Context) (string, error)
	// WatchLeader follows Leader.
	WatchLeader(ctx context.Context) <-chan string
	// Generation is the one in force; nil: none.
	Generation(ctx context.Context) (*ditherv1.Generation, error)
	// PutGeneration puts g in force if its number is that of the one in force plus one (any from 1 where there is none): else ErrStale. ErrDeposed if l is over.
	PutGeneration(ctx context.Context, l *Leadership, g *ditherv1.Generation) error
	// WatchGeneration follows the generation in force.
	WatchGeneration(ctx context.Context) <-chan *ditherv1.Generation
	// PutPaper writes what the next leader is to find under a name ("log/00000001"), in place of what is there. ErrDeposed if l is over.
	PutPaper(ctx context.Context, l *Leadership, name string, value []byte) error
	// Papers are those whose names begin with prefix, by name.
	Papers(ctx context.Context, prefix string) ([]Paper, error)
	// DropPapers removes those whose names begin with prefix. ErrDeposed if l is over.
	DropPapers(ctx context.Context, l *Leadership, prefix string) error
	// Close ends the connection. Leases that were not left end by themselves, after their time to live.
	Close() error
}

// Paper is what a leader left for the next one.
type Paper struct {
	Name  string
	Value []byte

	revision int64 // of its last write
}

// Lease is a member's hold on its place.
type Lease struct {
	lost  <-chan struct{}
	leave func(context.Context) error
}

// Lost is closed once the place is no longer held: the lease ran out, or it was left. Who did not leave must stop working: others take it for dead.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Leave gives the place up at once. Where etcd does not answer within 2 s it is left to its lease's end, and an error says so.
func (l *Lease) Leave(ctx context.Context) error { return l.leave(ctx) }

// Leadership is a coordinator's right to write generations.
type Leadership struct {
	key      string // the candidate's key
	revision int64  // at which it was created: a key of the same name made later is another one
	lost     <-chan struct{}
	resign   func(context.Context) error
}

// StoodBefore says that the leader was elected, or in line already, when the paper was written.
func (l *Leadership) StoodBefore(p Paper) bool { return l.revision < p.revision }

// Lost is closed once the right is over: its lease ran out, or Resign.
func (l *Leadership) Lost() <-chan struct{} { return l.lost }

// Resign lets the next candidate lead.
func (l *Leadership) Resign(ctx context.Context) error { return l.resign(ctx) }

// CheckName says whether a run, a role or an id can be part of a key.
func CheckName(what, name string) error {
	if name == "" || strings.ContainsAny(name, "/\x00\n") {
		return fmt.Errorf("%s %q cannot be used as a name: it must not be empty nor contain '/', a line break or a zero byte", what, name)
	}
	return nil
}

func checkMember(m *ditherv1.Member) error {
	if err := CheckName("role", m.GetRole()); err != nil {
		return err
	}
	return CheckName("id", m.GetId())
}

func successor(inForce, next *ditherv1.Generation) error {
	want := inForce.GetNumber() + 1
	if inForce == nil {
		want = max(1, next.GetNumber()) // an etcd that is new does not know how many there were
	}
	if next.GetNumber() != want {
		return fmt.Errorf("generation %d where number %d is due: %w", next.GetNumber(), want, ErrStale)
	}
	return nil
}

func sortMembers(ms []*ditherv1.Member) {
	slices.SortFunc(ms, func(a, b *ditherv1.Member) int {
		if c := strings.Compare(a.GetRole(), b.GetRole()); c != 0 {
			return c
		}
		return strings.Compare(a.GetId(), b.GetId())
	})
}

// taken names the holder of m's place.
func taken(run string, m, holder *ditherv1.Member, ttl time.Duration) error {
	return fmt.Errorf("run %q already has a %s %q (%s): %w; start this one under another --id, or if the other has died wait %v until its lease ends",
		run, m.GetRole(), m.GetId(), holder.GetProcess(), ErrTaken, ttl)
}

// replace puts v into a channel of capacity 1, in place of what was not taken yet. One goroutine at a time may do so.
func replace[T any](out chan T, v T) {
	for {
		select {
		case out <- v:
			return
		default:
		}
		select {
		case <-out:
		default:
		}
	}
}
