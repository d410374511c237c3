package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protojson"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// errInLine is for a candidate whose lease ended before it came to lead.
func errInLine(run string) error {
	return fmt.Errorf("standing for the lead of run %q: the lease ended in line, as etcd did not answer in time", run)
}

// Campaign implements Registry. The candidate whose key was created first leads.
func (c *Client) Campaign(ctx context.Context, candidate string, ttl time.Duration) (*Leadership, error) {
	s, err := c.session(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("standing for the lead of run %q: %w", c.run, err)
	}
	l, err := c.standInLine(ctx, s, candidate)
	if err != nil {
		// The context may be over, yet a candidate left in line would hold the others up until its lease ends.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.end(back, s)
		return nil, err
	}
	return l, nil
}

func (c *Client) standInLine(ctx context.Context, s *session, candidate string) (*Leadership, error) {
	key := fmt.Sprintf("%sleader/%x", c.root, s.id)
	put, err := c.etcd.Put(ctx, key, candidate, clientv3.WithLease(s.id))
	if err != nil {
		return nil, fmt.Errorf("standing for the lead of run %q: %w", c.run, c.explain(err))
	}
	l := &Leadership{key: key, revision: put.Header.Revision, lost: s.lost, resign: func(ctx context.Context) error { return c.end(ctx, s) }}
	line, cancel := context.WithCancel(ctx)
	defer cancel()
	lead := make(chan struct{})
	go func() {
		defer cancel()
		c.follow(line, c.root+"leader/", func() (int64, error) {
			got, err := c.read(line, c.root+"leader/", clientv3.WithFirstCreate()...)
			if err != nil {
				return 0, err
			}
			if len(got.Kvs) == 1 && string(got.Kvs[0].Key) == key {
				close(lead)
				cancel()
			}
			return got.Header.Revision, nil
		}, clientv3.WithPrefix())
	}()
	select {
	case <-lead:
		return l, nil
	case <-s.lost:
		return nil, errInLine(c.run)
	case <-ctx.Done():
		return nil, fmt.Errorf("standing for the lead of run %q: %w", c.run, ctx.Err())
	}
}

// Leader implements Registry.
func (c *Client) Leader(ctx context.Context) (string, error) {
	who, _, err := c.readLeader(ctx)
	return who, err
}

func (c *Client) readLeader(ctx context.Context) (string, int64, error) {
	got, err := c.read(ctx, c.root+"leader/", clientv3.WithFirstCreate()...)
	if err != nil {
		return "", 0, fmt.Errorf("reading who leads run %q: %w", c.run, err)
	}
	if len(got.Kvs) == 0 {
		return "", got.Header.Revision, nil
	}
	return string(got.Kvs[0].Value), got.Header.Revision, nil
}

// WatchLeader implements Registry.
func (c *Client) WatchLeader(ctx context.Context) <-chan string {
	out := make(chan string, 1)
	go func() {
		defer close(out)
		last, said := "", false
		c.follow(ctx, c.root+"leader/", func() (int64, error) {
			who, revision, err := c.readLeader(ctx)
			if err == nil && (who != last || !said) {
				last, said = who, true
				replace(out, who)
			}
			return revision, err
		}, clientv3.WithPrefix())
	}()
	return out
}

// PutGeneration implements Registry. It is a compare-and-swap on two keys: the leader's must be the one that was elected, and the generation's as it was read.
func (c *Client) PutGeneration(ctx context.Context, l *Leadership, g *ditherv1.Generation) error {
	value, err := protojson.Marshal(g)
	if err != nil {
		return fmt.Errorf("encoding generation %d: %w", g.GetNumber(), err)
	}
	inForce, read, _, err := c.readGeneration(ctx)
	if err != nil {
		return err
	}
	if err := successor(inForce, g); err != nil {
		// A deposed leader finds a generation that is not its own: say what it must know first.
		if over := c.guarded(ctx, l, nil); errors.Is(over, ErrDeposed) {
			return over
		}
		return fmt.Errorf("run %q: %w", c.run, err)
	}
	key := c.root + "generation"
	same := clientv3.Compare(clientv3.ModRevision(key), "=", read)
	return c.guarded(ctx, l, []clientv3.Cmp{same}, clientv3.OpPut(key, string(value)))
}

// guarded does ops if l still leads and every comparison holds: else ErrDeposed or ErrStale.
func (c *Client) guarded(ctx context.Context, l *Leadership, also []clientv3.Cmp, ops ...clientv3.Op) error {
	leads := clientv3.Compare(clientv3.CreateRevision(l.key), "=", l.revision)
	answer, err := c.etcd.Txn(ctx).If(append(also, leads)...).Then(ops...).Else(clientv3.OpGet(l.key)).Commit()
	if err != nil {
		return fmt.Errorf("writing to etcd for run %q: %w", c.run, c.explain(err))
	}
	if answer.Succeeded {
		return nil
	}
	held := answer.Responses[0].GetResponseRange().Kvs
	if len(held) == 0 || held[0].CreateRevision != l.revision {
		return fmt.Errorf("run %q: %w", c.run, ErrDeposed)
	}
	return fmt.Errorf("run %q: another generation was written meanwhile: %w", c.run, ErrStale)
}

// Generation implements Registry.
func (c *Client) Generation(ctx context.Context) (*ditherv1.Generation, error) {
	g, _, _, err := c.readGeneration(ctx)
	return g, err
}

// readGeneration answers the generation in force (nil: none), its key's revision (0: none) and that of the read.
func (c *Client) readGeneration(ctx context.Context) (g *ditherv1.Generation, modified, at int64, err error) {
	key := c.root + "generation"
	got, err := c.read(ctx, key)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("reading the generation of run %q: %w", c.run, err)
	}
	if len(got.Kvs) == 0 {
		return nil, 0, got.Header.Revision, nil
	}
	g = &ditherv1.Generation{}
	if err := decode(key, got.Kvs[0].Value, g); err != nil {
		return nil, 0, 0, err
	}
	return g, got.Kvs[0].ModRevision, got.Header.Revision, nil
}

// WatchGeneration implements Registry.
func (c *Client) WatchGeneration(ctx context.Context) <-chan *ditherv1.Generation {
	out := make(chan *ditherv1.Generation, 1)
	go func() {
		defer close(out)
		last := int64(0)
		c.follow(ctx, c.root+"generation", func() (int64, error) {
			g, modified, at, err := c.readGeneration(ctx)
			if err == nil && g != nil && modified != last {
				last = modified
				replace(out, g)
			}
			return at, err
		})
	}()
	return out
}
