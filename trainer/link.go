package trainer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// How long a trainer waits before it tries to reach a coordinator again.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// link carries what a trainer has to say to whichever coordinator leads, and brings its orders. Nothing waits for a coordinator but what says so.
type link struct {
	coordinators Coordinators
	member       *ditherv1.Member
	every        time.Duration // between beats
	news         *news
	logger       *slog.Logger

	mu      sync.Mutex
	out     outbox
	at      *ditherv1.Beat // where the trainer stands
	conn    Coordinator    // nil: none
	since   time.Time      // since when there is one, or none
	changed chan struct{}  // closed when any of this changes
	saves   saves
}

func newLink(c *Config, n *news, every time.Duration) *link {
	return &link{coordinators: c.Coordinators, member: c.Member, every: every, news: n, logger: c.Logger, at: &ditherv1.Beat{}, since: time.Now(), changed: make(chan struct{})}
}

// change changes the link's fields, and wakes who waits for that.
func (l *link) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

// await waits until ready, asked under the lock, or ctx is over.
func (l *link) await(ctx context.Context, ready func() bool) error {
	for {
		l.mu.Lock()
		done, changed := ready(), l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stands changes where the trainer stands. All but the progress of iterations is said at once.
func (l *link) stands(f func(at *ditherv1.Beat)) {
	l.change(func() {
		before := proto.CloneOf(l.at)
		f(l.at)
		l.out.beat = l.out.beat || before.GetGeneration() != l.at.GetGeneration() || before.GetHasState() != l.at.GetHasState() || before.GetDoing() != l.at.GetDoing()
	})
}

// run talks to one coordinator after another until ctx is over.
func (l *link) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		conn, err := l.coordinators.Connect(ctx)
		if err == nil {
			err = l.talk(ctx, conn)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastPause { // it was good for a while
			pause = firstPause
		}
		l.logger.Warn("no coordinator; training goes on without", "error", ditherv1.Message(err), "next_try", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

// talk says who is there and what there is to say, until the connection breaks.
func (l *link) talk(ctx context.Context, conn Coordinator) error {
	defer conn.Close()
	l.mu.Lock()
	hello := &ditherv1.Hello{Member: l.member, Beat: proto.CloneOf(l.at)}
	l.mu.Unlock()
	if err := l.send(conn, &ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	l.change(func() { l.conn, l.since = conn, time.Now(); l.out.connected() })
	defer l.change(func() { l.conn, l.since = nil, time.Now() })
	broken := make(chan error, 1)
	go func() { broken <- l.listen(conn) }()
	return l.say(ctx, conn, broken)
}

// say sends what is to be sent, as it comes.
func (l *link) say(ctx context.Context, conn Coordinator, broken chan error) error {
	beats := time.NewTicker(l.every)
	defer beats.Stop()
	for {
		l.mu.Lock()
		r, changed := l.out.next(func() *ditherv1.Beat { return proto.CloneOf(l.at) }), l.changed
		l.mu.Unlock()
		if r != nil {
			if err := l.send(conn, r); err != nil {
				conn.Close()
				return errors.Join(err, <-broken)
			}
			continue
		}
		select {
		case <-changed:
		case <-beats.C:
			l.change(func() { l.out.beat = true })
		case err := <-broken:
			return err
		case <-ctx.Done():
			conn.Close()
			<-broken
			return context.Cause(ctx)
		}
	}
}

func (l *link) send(conn Coordinator, r *ditherv1.ReportRequest) error {
	signed := &ditherv1.ReportRequest{Id: l.member.GetId(), KernelSet: l.member.GetKernelSet(), Record: r.GetRecord()}
	return conn.Send(signed)
}

// listen takes the answer to the hello, and orders.
func (l *link) listen(conn Coordinator) error {
	for answered := false; ; {
		r, err := conn.Recv()
		if err != nil {
			return err
		}
		if !answered {
			answered = true
			l.change(func() { l.out.hello(r.GetHave()) })
		}
		if r.GetStop() {
			l.news.update(func(n *told) {
				if n.stop = r.GetReason(); n.stop == "" {
					n.stop = "the coordinator says so"
				}
			})
		}
		if r.GetOver() || r.GetRefused() {
			l.news.update(func(n *told) { n.over = r })
		}
	}
}

// alone is how long there has been no coordinator; 0: there is one.
func (l *link) alone() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		return 0
	}
	return time.Since(l.since)
}

// letterOf makes a letter of a record.
func letterOf(r *ditherv1.ReportRequest) *letter { return &letter{request: r} }

// file fetches a file of the run from a coordinator, as soon as there is one; ErrNoFile where the run has none.
func (l *link) file(ctx context.Context, kind ditherv1.FileKind) ([]byte, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		var conn Coordinator
		if err := l.await(ctx, func() bool { conn = l.conn; return conn != nil }); err != nil {
			return nil, err
		}
		data, err := conn.GetFile(ctx, kind)
		if err == nil || errors.Is(err, ErrNoFile) {
			return data, err
		}
		l.logger.Warn("a file of the run did not come", "kind", kind, "error", ditherv1.Message(err), "next_try", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
