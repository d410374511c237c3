package trainer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// replicaRest is how long a replica that did not answer is passed over while another one may: the time in which its lease ends, if it is dead.
const replicaRest = 10 * time.Second

// replica is one teacher-logit service.
type replica struct {
	id, address string
	client      ditherv1.TeacherServiceClient
	conn        io.Closer
	until       time.Time // passed over until then
	trouble     string    // why its last answer was none; empty: it was one
}

// replicas are the teacher-logit services of a run, as the members' watch names them.
type replicas struct {
	dial   func(address string) (ditherv1.TeacherServiceClient, io.Closer, error)
	logger *slog.Logger

	mu      sync.Mutex
	all     []*replica    // by id
	changed chan struct{} // closed when all changes
	missed  bool          // somebody waits for a first one, which was said
}

func newReplicas(dial func(string) (ditherv1.TeacherServiceClient, io.Closer, error), logger *slog.Logger) *replicas {
	return &replicas{dial: dial, logger: logger, changed: make(chan struct{})}
}

// dialTeacher reaches a teacher-logit service by gRPC. A lost connection is tried again soon, and a silent one found out.
func dialTeacher(address string) (ditherv1.TeacherServiceClient, io.Closer, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: labelPause, Multiplier: 2, Jitter: 0.2, MaxDelay: labelPauseMax}, MinConnectTimeout: labelPatience}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return nil, nil, err
	}
	return ditherv1.NewTeacherServiceClient(conn), conn, nil
}

// follow takes over who is there, until ctx ends. Once nobody tells any more, those who were there last are kept.
func (p *replicas) follow(ctx context.Context, members <-chan []*ditherv1.Member) {
	for {
		select {
		case ms, open := <-members:
			if !open {
				return
			}
			p.set(ms)
		case <-ctx.Done():
			return
		}
	}
}

// set connects to teachers that are new and leaves those that are gone; their requests in flight end, and are asked of others.
func (p *replicas) set(members []*ditherv1.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.all
	p.all = nil
	for _, m := range members {
		if m.GetRole() != "teacher" {
			continue
		}
		if i := slices.IndexFunc(old, func(r *replica) bool { return r.id == m.GetId() && r.address == m.GetAddress() }); i >= 0 {
			p.all = append(p.all, old[i])
			old = slices.Delete(old, i, i+1)
			continue
		}
		client, conn, err := p.dial(m.GetAddress())
		if err != nil {
			p.logger.Warn("a teacher-logit service cannot be used", "id", m.GetId(), "address", m.GetAddress(), "error", err)
			continue
		}
		p.all = append(p.all, &replica{id: m.GetId(), address: m.GetAddress(), client: client, conn: conn})
	}
	slices.SortFunc(p.all, func(a, b *replica) int { return cmp.Compare(a.id, b.id) })
	for _, r := range old {
		_ = r.conn.Close() // nothing is left to be said on it
	}
	p.missed = p.missed && len(p.all) == 0
	close(p.changed)
	p.changed = make(chan struct{})
}

// choose is the replica whose turn it is: each in turn of those that answer, as far as is known, or else of all; nil: there is none.
func choose(all []*replica, turn uint32, now time.Time) *replica {
	up := slices.DeleteFunc(slices.Clone(all), func(r *replica) bool { return now.Before(r.until) })
	if len(up) == 0 {
		up = all
	}
	if len(up) == 0 {
		return nil
	}
	return up[turn%uint32(len(up))]
}

// pick chooses a replica, and waits for one where there is none.
func (p *replicas) pick(ctx context.Context, turn uint32) (*replica, error) {
	for {
		p.mu.Lock()
		r, changed := choose(p.all, turn, time.Now()), p.changed
		if r == nil && !p.missed {
			p.missed = true
			p.logger.Warn("waiting for a teacher-logit service: none is in the run; start one with `dither serve teacher`")
		}
		p.mu.Unlock()
		if r != nil {
			return r, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// other is a replica that is not r and answers, as far as is known; nil: there is none.
func (p *replicas) other(r *replica) *replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, s := range p.all {
		if s != r && !now.Before(s.until) {
			return s
		}
	}
	return nil
}

// failed passes r over for a while, and says so where the reason is news.
func (p *replicas) failed(r *replica, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.until = time.Now().Add(replicaRest)
	if why := ditherv1.Message(err); r.trouble != why {
		r.trouble = why
		p.logger.Warn("a teacher-logit service does not answer; it is asked again, or another one", "id", r.id, "address", r.address, "reason", why)
	}
}

func (p *replicas) answered(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.until = time.Time{}
	if r.trouble != "" {
		r.trouble = ""
		p.logger.Info("a teacher-logit service answers again", "id", r.id, "address", r.address)
	}
}

// waiting says why nobody answers; empty: somebody does.
func (p *replicas) waiting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missed {
		return "waiting for a teacher-logit service: none is in the run"
	}
	why := ""
	for _, r := range p.all {
		if r.trouble == "" {
			return ""
		}
		why = fmt.Sprintf("waiting for the teacher-logit service at %s: %s", r.address, r.trouble)
	}
	return why
}

func (p *replicas) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.all {
		_ = r.conn.Close() // nothing is left to be said on it
	}
	p.all = nil
}
