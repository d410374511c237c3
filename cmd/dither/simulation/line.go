package simulation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
)

// keepalive is after which a connection breaks over which nothing comes.
const keepalive = 15 * time.Second

// coordinators is how a trainer finds the coordinator that leads.
type coordinators struct {
	p    *process
	lane *lane
}

func (cs coordinators) Connect(ctx context.Context) (trainer.Coordinator, error) {
	p := cs.p
	w := p.w
	name := ""
	for name == "" {
		var err error
		if name, err = p.etcd.Leader(ctx); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil || name == "" {
			select {
			case <-time.After(joinPause):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	cs.lane.travel()
	w.mu.Lock()
	var c *candidate
	for _, other := range w.leaders {
		if other.name == name {
			c = other
		}
	}
	w.mu.Unlock()
	dial, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	err := w.await(dial, func() bool { return c == nil || c.dead || w.open(p.host, c.host) && w.host(c.host).frozen == 0 })
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, errCut
	case c == nil || c.isDead():
		return nil, errRefused
	case p.gate() != nil:
		return nil, errKilled
	}
	return w.line(p, c), nil
}

// line is a trainer's connection to a coordinator: a session, with what is on its way in both directions.
type line struct {
	w        *world
	p        *process
	c        *candidate
	session  *coordinator.Session
	up, down *lane
	orders   chan *ditherv1.ReportResponse
	broken   context.Context
	snap     context.CancelCauseFunc

	mu      sync.Mutex
	sent    []*ditherv1.ReportRequest
	closing bool
	more    chan struct{} // capacity 1
}

func (w *world) line(p *process, c *candidate) *line {
	name := p.member.GetAddress() + " " + c.name
	l := &line{w: w, p: p, c: c, session: c.coordinator.Attach(), up: w.lane(name+" up", w.Travel), down: w.lane(name+" down", w.Travel), orders: make(chan *ditherv1.ReportResponse, 100), more: make(chan struct{}, 1)}
	l.broken, l.snap = context.WithCancelCause(context.Background())
	w.all.Go(l.watch)
	w.all.Go(l.upward)
	w.all.Go(l.downward)
	return l
}

// watch breaks the line when an end is dead, another leads, or nothing has passed for long.
func (l *line) watch() {
	w := l.w
	look := time.NewTicker(joinPause)
	defer look.Stop()
	silent := time.Duration(0)
	for {
		select {
		case <-look.C:
		case <-l.broken.Done():
			return
		}
		w.mu.Lock()
		dead := l.p.dead || l.c.dead
		quiet := !w.open(l.p.host, l.c.host) || w.host(l.c.host).frozen > 0 || w.host(l.p.host).frozen > 0
		known := w.open(l.p.host, etcdHost) && w.host(l.p.host).frozen == 0
		w.mu.Unlock()
		if silent += joinPause; !quiet {
			silent = 0
		}
		leader := l.c.name
		if known {
			leader, _ = w.etcd.Run(runName).Leader(l.broken)
		}
		switch {
		case dead:
			l.snap(errors.New("connection reset"))
		case silent >= keepalive:
			l.snap(errCut)
		case leader != l.c.name:
			l.snap(errors.New("another coordinator leads, or none"))
		}
	}
}

// upward carries what the trainer says.
func (l *line) upward() {
	how := "it broke"
	defer func() { l.session.Detach(how) }()
	for {
		l.mu.Lock()
		var m *ditherv1.ReportRequest
		if len(l.sent) > 0 {
			m = l.sent[0]
			l.sent = l.sent[1:]
		}
		closing := l.closing
		l.mu.Unlock()
		if m == nil && closing {
			how = "it was closed"
			l.snap(errors.New("closed"))
			return
		}
		if m == nil {
			select {
			case <-l.more:
			case <-l.broken.Done():
				return
			}
			continue
		}
		l.up.travel()
		if l.w.pass(l.broken, l.p.host, l.c.host) != nil || l.c.gate() != nil {
			return
		}
		if err := l.session.Receive(m); err != nil {
			l.w.log.Info("a record is refused", "of", l.p.name, "error", ditherv1.Message(err))
			l.snap(err)
			return
		}
	}
}

// downward carries orders.
func (l *line) downward() {
	for m := range l.session.Orders() {
		l.down.travel()
		if l.c.gate() != nil || l.w.pass(l.broken, l.p.host, l.c.host) != nil {
			continue // nobody hears it
		}
		select {
		case l.orders <- proto.CloneOf(m):
		case <-l.broken.Done():
		}
	}
	l.down.travel()
	if l.c.gate() == nil {
		_ = l.w.pass(l.broken, l.p.host, l.c.host)
		l.snap(errors.New("the coordinator ended the session"))
	}
}

func (l *line) Send(r *ditherv1.ReportRequest) error {
	if err := l.p.gate(); err != nil {
		return err
	}
	if err := context.Cause(l.broken); err != nil {
		return err
	}
	r = proto.CloneOf(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return errors.New("closed")
	}
	l.sent = append(l.sent, r)
	l.wake()
	return nil
}

func (l *line) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *line) Recv() (*ditherv1.ReportResponse, error) {
	var r *ditherv1.ReportResponse
	select { // what came before it broke is heard
	case r = <-l.orders:
	default:
		select {
		case r = <-l.orders:
		case <-l.broken.Done():
		}
	}
	if err := l.p.gate(); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, context.Cause(l.broken)
	}
	return r, nil
}

func (l *line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.wake()
}

// ask makes a call to the coordinator beside the stream.
func (l *line) ask(ctx context.Context, do func() error) error {
	both, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(l.broken, func() { stop(context.Cause(l.broken)) })()
	for range 2 { // there and back
		if err := l.p.gate(); err != nil {
			return err
		}
		l.up.travel()
		if err := l.w.await(both, func() bool { return l.w.open(l.p.host, l.c.host) && l.w.host(l.c.host).frozen == 0 || l.c.dead }); err != nil {
			return err
		}
		if l.c.isDead() {
			return errRefused
		}
		if do != nil {
			if err := do(); err != nil {
				return err
			}
			do = nil
		}
	}
	return l.p.gate()
}

func (l *line) PutCheckpoint(ctx context.Context, k uint32, data []byte) error {
	return l.ask(ctx, func() error {
		_, err := l.c.coordinator.PutCheckpoint(k, l.w.run.GetSpecSha256(), data)
		return err
	})
}

func (l *line) GetFile(ctx context.Context, kind ditherv1.FileKind) (data []byte, err error) {
	err = l.ask(ctx, func() (err error) {
		data, err = l.c.coordinator.GetFile(kind)
		return err
	})
	if status.Code(err) == codes.NotFound {
		return nil, fmt.Errorf("%w: %s", trainer.ErrNoFile, ditherv1.Message(err))
	}
	return data, err
}
