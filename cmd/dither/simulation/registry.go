package simulation

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// etcdTimeout is after which a call to an etcd that cannot be reached fails.
const etcdTimeout = time.Second

// registry is etcd as one machine sees it: calls take time, stand still with the machine, and fail while the way is cut or etcd is away. A call that was made before that
// may have been done although it fails.
type registry struct {
	membership.Registry // of the Fake
	m                   *machine
	lane                *lane
}

func (w *world) registry(m *machine) *registry {
	return &registry{Registry: w.etcd.Run(runName), m: m, lane: w.lane(m.name+" etcd", w.Travel)}
}

// call does something in etcd.
func (r *registry) call(ctx context.Context, do func() error) error {
	// A frozen process finds its call done when it is thawed, or not; a dead one never.
	if err := r.reach(ctx); err != nil {
		return err
	}
	err := do()
	if again := r.reach(ctx); again != nil {
		return again
	}
	return err
}

// reach takes the time of a message's way, once the machine does not stand still.
func (r *registry) reach(ctx context.Context) error {
	if r.m.gate() != nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	r.lane.travel()
	r.m.w.mu.Lock()
	open := r.m.w.open(r.m.host, etcdHost)
	r.m.w.mu.Unlock()
	if !open {
		select {
		case <-time.After(etcdTimeout):
		case <-ctx.Done():
		}
		return errAway
	}
	if r.m.gate() != nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

func ask[T any](r *registry, ctx context.Context, do func() (T, error)) (out T, err error) {
	err = r.call(ctx, func() (err error) {
		out, err = do()
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

func (r *registry) Join(ctx context.Context, m *ditherv1.Member, ttl time.Duration) (*membership.Lease, error) {
	var held *membership.Lease
	err := r.call(ctx, func() (err error) {
		held, err = r.Registry.Join(ctx, m, ttl)
		return err
	})
	if err != nil && held != nil { // nobody knows of the lease, nor keeps it alive
		time.AfterFunc(lattice(ttl, r.lane.name+" join"), func() { _ = held.Leave(context.Background()) })
	}
	if err != nil {
		return nil, err
	}
	return held, nil
}

func (r *registry) Members(ctx context.Context) ([]*ditherv1.Member, error) {
	return ask(r, ctx, func() ([]*ditherv1.Member, error) { return r.Registry.Members(ctx) })
}

func (r *registry) Campaign(ctx context.Context, candidate string, ttl time.Duration) (*membership.Leadership, error) {
	w := r.m.w
	if err := r.reach(ctx); err != nil {
		return nil, err
	}
	l, err := r.Registry.Campaign(ctx, candidate, ttl)
	if err != nil {
		return nil, err
	}
	w.note("%s leads", r.m.name)
	w.change(func() { w.leads[l] = r.m.name })
	if r.m.gate() != nil {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return l, nil
}

func (r *registry) Leader(ctx context.Context) (string, error) {
	return ask(r, ctx, func() (string, error) { return r.Registry.Leader(ctx) })
}

func (r *registry) Generation(ctx context.Context) (*ditherv1.Generation, error) {
	return ask(r, ctx, func() (*ditherv1.Generation, error) { return r.Registry.Generation(ctx) })
}

func (r *registry) Papers(ctx context.Context, prefix string) ([]membership.Paper, error) {
	return ask(r, ctx, func() ([]membership.Paper, error) { return r.Registry.Papers(ctx, prefix) })
}

func (r *registry) PutPaper(ctx context.Context, l *membership.Leadership, name string, value []byte) error {
	return r.call(ctx, func() error { return r.Registry.PutPaper(ctx, l, name, value) })
}

func (r *registry) DropPapers(ctx context.Context, l *membership.Leadership, prefix string) error {
	return r.call(ctx, func() error { return r.Registry.DropPapers(ctx, l, prefix) })
}

// PutGeneration also holds that only a coordinator which leads makes a generation, and each only once.
func (r *registry) PutGeneration(ctx context.Context, l *membership.Leadership, g *ditherv1.Generation) error {
	return r.call(ctx, func() error {
		w := r.m.w
		leader, _ := w.etcd.Run(runName).Leader(ctx)
		err := r.Registry.PutGeneration(ctx, l, g)
		if w.mutant.unfenced() && errors.Is(err, membership.ErrDeposed) {
			w.mu.Lock()
			for other, name := range w.leads {
				if name == leader {
					l = other
				}
			}
			w.mu.Unlock()
			err = r.Registry.PutGeneration(ctx, l, g)
		}
		if err != nil {
			w.note("%s does not put generation %d in force: %v", r.m.name, g.GetNumber(), err)
			return err
		}
		w.note("%s puts generation %d in force: %s", r.m.name, g.GetNumber(), g.GetReason())
		if !strings.ContainsRune(g.GetReason(), ';') { // nobody was lost, left or joined: it is the first
			w.change(func() { w.begun++ })
		}
		if leader != r.m.name {
			return w.defect("%s put generation %d in force while %q led", r.m.name, g.GetNumber(), leader)
		}
		return nil
	})
}

func (r *registry) WatchMembers(ctx context.Context) <-chan []*ditherv1.Member {
	return follow(r, ctx, "members", r.Registry.WatchMembers(ctx))
}

func (r *registry) WatchLeader(ctx context.Context) <-chan string {
	return follow(r, ctx, "leader", r.Registry.WatchLeader(ctx))
}

func (r *registry) WatchGeneration(ctx context.Context) <-chan *ditherv1.Generation {
	return follow(r, ctx, "generation", r.Registry.WatchGeneration(ctx))
}

// follow passes the newest value on, when etcd can be reached.
func follow[T any](r *registry, ctx context.Context, what string, in <-chan T) <-chan T {
	out := make(chan T, 1)
	way := r.m.w.lane(r.m.name+" watch "+what, r.m.w.Travel)
	r.m.w.all.Go(func() {
		defer close(out)
		for v := range in {
			way.travel()
			if r.m.gate() != nil || r.m.w.pass(ctx, r.m.host, etcdHost) != nil {
				continue
			}
			for newer := true; newer; {
				var last T
				select {
				case last, newer = <-in:
					if newer {
						v = last
					}
				default:
					newer = false
				}
			}
			select { // what was not taken is overtaken
			case <-out:
			default:
			}
			out <- v
		}
	})
	return out
}
