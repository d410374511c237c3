package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// standAgain is after how long a candidate that failed stands for election again.
const standAgain = time.Second

// campaign comes to lead the run. Another coordinator may be dead without its lease having ended: that is waited for, and no longer.
func (c *Coordinator) campaign(ctx context.Context) (*membership.Leadership, error) {
	other, err := c.registry.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if other != "" {
		c.log.Warn("another coordinator leads this run; waiting for it to end, or for its lease to", "run", c.config.Run, "other", other)
	}
	bound, cancel := context.WithTimeout(ctx, c.config.LeaseTTL+2*time.Second)
	defer cancel()
	lead, err := c.registry.Campaign(bound, c.Address(), c.config.LeaseTTL)
	if err != nil && ctx.Err() == nil && errors.Is(bound.Err(), context.DeadlineExceeded) {
		if other, _ = c.registry.Leader(ctx); other != "" {
			return nil, fmt.Errorf("run %q already has a coordinator at %s: stop that one (dither stop %s), let this one stand by, or use another folder or etcd for it", c.config.Run, other, other)
		}
	}
	return lead, err
}

// stand leads term after term, beginning with t, which is entered, if it is there, until the run is over or the context ends.
func (c *Coordinator) stand(ctx context.Context, t *term) {
	for ctx.Err() == nil {
		if t == nil {
			var err error
			if t, err = c.succeed(ctx); err != nil {
				if ctx.Err() != nil {
					return
				}
				if errors.Is(err, errOtherRun) {
					c.end(&ditherv1.RunResult{Phase: string(quorum.Failed), Reason: err.Error()})
					return
				}
				c.log.Warn("this coordinator could not come to lead; it stands for election again", "error", err, "after", standAgain)
				select {
				case <-time.After(standAgain):
				case <-ctx.Done():
				}
				continue
			}
			if t.ended != nil { // while this coordinator was in line
				_ = t.close() // of a lead that nobody needs any more
				c.end(t.ended)
				return
			}
			c.enter(t)
		}
		result := t.decide(ctx)
		if result != nil {
			c.end(result)
			return
		}
		if ctx.Err() != nil {
			return
		}
		c.log.Warn("this coordinator no longer leads", "run", c.config.Run, "reason", t.why())
		c.leave(t)
		if !c.config.Standby {
			c.end(&ditherv1.RunResult{Phase: string(quorum.Failed), Reason: t.why() + "; the run goes on with another coordinator, or is resumed with this one", Temporary: true, Iteration: t.applied()})
			return
		}
		t = nil
	}
}

// succeed waits in line, saying for whom, and begins a term.
func (c *Coordinator) succeed(ctx context.Context) (*term, error) {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	leaders := c.registry.WatchLeader(watch)
	said := make(chan struct{})
	go func() {
		defer close(said)
		for who := range leaders {
			c.mu.Lock()
			c.leader = who
			c.mu.Unlock()
			if who != "" && who != c.Address() {
				c.log.Info("standing by", "run", c.config.Run, "leader", who)
			}
		}
	}()
	lead, err := c.registry.Campaign(ctx, c.Address(), c.config.LeaseTTL)
	cancel()
	<-said
	if err != nil {
		return nil, err
	}
	return c.begin(ctx, lead)
}

// enter makes t the term that everybody speaks to.
func (c *Coordinator) enter(t *term) {
	c.mu.Lock()
	c.term, c.leader = t, c.Address()
	reason := c.stopReason
	c.mu.Unlock()
	if reason != "" {
		t.stop(reason)
	}
	c.serving(healthv1.HealthCheckResponse_SERVING)
}

// leave ends a term that was lost: its trainers are told nothing, and look for whoever leads now.
func (c *Coordinator) leave(t *term) {
	c.serving(healthv1.HealthCheckResponse_NOT_SERVING)
	c.mu.Lock()
	c.term, c.leader = nil, ""
	c.mu.Unlock()
	t.record.feed.end()
	t.hangUp()
	if err := t.close(); err != nil {
		c.log.Warn("closing what a lost lead left open", "error", err)
	}
}
