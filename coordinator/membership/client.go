package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	connectTimeout = 5 * time.Second        // for the first answer of an etcd
	leaveTimeout   = 2 * time.Second        // for a lease to be given back
	retryAfter     = 250 * time.Millisecond // between reads of an etcd that does not answer
)

// Client is a Registry in etcd v3.
type Client struct {
	etcd *clientv3.Client
	run  string
	root string // /dither/RUN/
}

var _ Registry = (*Client)(nil)

// Connect reaches the etcd at endpoints (HOST:PORT, or URLs) for a run. Where none answers within 5 s (or before the context ends) the error names them.
func Connect(ctx context.Context, endpoints []string, run string) (*Client, error) {
	return ConnectWithin(ctx, endpoints, run, connectTimeout)
}

// ConnectWithin is Connect with another time for the first answer: of an etcd that is known to be there, on a machine that may be busy.
func ConnectWithin(ctx context.Context, endpoints []string, run string, patience time.Duration) (*Client, error) {
	if err := CheckName("run", run); err != nil {
		return nil, err
	}
	where := strings.Join(endpoints, ", ")
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          connectTimeout,
		DialKeepAliveTime:    10 * time.Second, // the least that gRPC allows
		DialKeepAliveTimeout: 2 * time.Second,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use etcd at %s: %w; check --etcd", where, err)
	}
	ask, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := etcd.Get(ask, "/dither/"+run+"/generation"); err != nil {
		_ = etcd.Close() // the first error says more
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connecting to etcd at %s: %w", where, context.Cause(ctx))
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", patience)
		}
		return nil, fmt.Errorf("cannot reach etcd at %s: %w; start it, or give another address with --etcd", where, err)
	}
	return &Client{etcd: etcd, run: run, root: "/dither/" + run + "/"}, nil
}

// Close implements Registry.
func (c *Client) Close() error { return c.etcd.Close() }

// Join implements Registry.
func (c *Client) Join(ctx context.Context, m *ditherv1.Member, ttl time.Duration) (*Lease, error) {
	if err := checkMember(m); err != nil {
		return nil, err
	}
	value, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %q: %w", m.GetRole(), m.GetId(), err)
	}
	s, err := c.session(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("joining run %q: %w", c.run, err)
	}
	key := c.root + "members/" + m.GetRole() + "/" + m.GetId()
	answer, err := c.etcd.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithLease(s.id))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err == nil && answer.Succeeded {
		return &Lease{lost: s.lost, leave: func(ctx context.Context) error { return c.end(ctx, s) }}, nil
	}
	_ = c.end(ctx, s) // a lease without a key harms nobody
	if err != nil {
		return nil, fmt.Errorf("joining run %q as %s %q: %w", c.run, m.GetRole(), m.GetId(), c.explain(err))
	}
	holder := &ditherv1.Member{}
	if err := decode(key, answer.Responses[0].GetResponseRange().Kvs[0].Value, holder); err != nil {
		return nil, err
	}
	return nil, taken(c.run, m, holder, ttl)
}

// Members implements Registry.
func (c *Client) Members(ctx context.Context) ([]*ditherv1.Member, error) {
	ms, _, err := c.readMembers(ctx)
	return ms, err
}

func (c *Client) readMembers(ctx context.Context) ([]*ditherv1.Member, int64, error) {
	got, err := c.read(ctx, c.root+"members/", clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("reading the members of run %q: %w", c.run, err)
	}
	ms := make([]*ditherv1.Member, len(got.Kvs))
	for i, kv := range got.Kvs {
		ms[i] = &ditherv1.Member{}
		if err := decode(string(kv.Key), kv.Value, ms[i]); err != nil {
			return nil, 0, err
		}
	}
	sortMembers(ms)
	return ms, got.Header.Revision, nil
}

// WatchMembers implements Registry.
func (c *Client) WatchMembers(ctx context.Context) <-chan []*ditherv1.Member {
	out := make(chan []*ditherv1.Member, 1)
	go func() {
		defer close(out)
		c.follow(ctx, c.root+"members/", func() (int64, error) {
			ms, revision, err := c.readMembers(ctx)
			if err == nil {
				replace(out, ms)
			}
			return revision, err
		}, clientv3.WithPrefix())
	}()
	return out
}

// follow calls publish once, and after each change of key, until the context ends. publish reads what it publishes, and answers the revision that it read at.
func (c *Client) follow(ctx context.Context, key string, publish func() (int64, error), opts ...clientv3.OpOption) {
	for ctx.Err() == nil {
		revision, err := publish()
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
			continue
		}
		watch, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for answer := range c.etcd.Watch(watch, key, append(opts, clientv3.WithRev(revision+1))...) {
			if answer.Err() != nil {
				break // compacted, or etcd lost its quorum: read again
			}
			if answer.Header.Revision > revision {
				if revision, err = publish(); err != nil {
					break
				}
			}
		}
		cancel()
	}
}

func decode(key string, value []byte, into proto.Message) error {
	// Fields that a newer version wrote are none of our business here; versions are compared by the coordinator.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(value, into); err != nil {
		return fmt.Errorf("etcd's key %s is not what dither writes there: %w; remove it, or use another name for the run", key, err)
	}
	return nil
}
