package membership

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// session is a lease that is kept alive. Each renewal is a call of its own, to whichever endpoint answers: one that hangs costs a try, not the lease.
type session struct {
	id   clientv3.LeaseID
	lost chan struct{} // closed once the lease may have ended, by this process's clock
	stop context.CancelFunc
	done sync.WaitGroup
}

// session asks for a lease of ttl, in whole seconds upwards as etcd counts.
func (c *Client) session(ctx context.Context, ttl time.Duration) (*session, error) {
	seconds := max(1, int64((ttl+time.Second-1)/time.Second))
	asked := time.Now()
	ask, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	grant, err := c.etcd.Grant(ask, seconds)
	if err != nil {
		return nil, fmt.Errorf("asking etcd for a lease of %d s: %w", seconds, c.explain(err))
	}
	keep, stop := context.WithCancel(c.etcd.Ctx())
	s := &session{id: grant.ID, lost: make(chan struct{}), stop: stop}
	s.done.Go(func() { c.keep(keep, s, asked, time.Duration(seconds)*time.Second) })
	return s, nil
}

// keep renews a lease until it cannot be any more, or the context ends. Its time counts from when a renewal was asked for, so that nobody else
// takes it for over before its holder does.
func (c *Client) keep(ctx context.Context, s *session, renewed time.Time, ttl time.Duration) {
	defer close(s.lost)
	pause := time.NewTimer(ttl / 3)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		left := time.Until(renewed.Add(ttl))
		if left <= 0 {
			return
		}
		asked := time.Now()
		try, cancel := context.WithTimeout(ctx, min(left, ttl/5))
		_, err := c.etcd.KeepAliveOnce(try, s.id)
		cancel()
		switch {
		case err == nil:
			renewed = asked
			pause.Reset(ttl / 3)
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		default:
			pause.Reset(ttl / 50)
		}
	}
}

// end gives a session's lease back. An etcd that is gone is not waited for: the lease ends by itself.
func (c *Client) end(ctx context.Context, s *session) error {
	s.stop()
	s.done.Wait()
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if _, err := c.etcd.Revoke(ctx, s.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("leaving run %q: %w", c.run, c.explain(err))
	}
	return nil
}
