package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// writeTimeout is for a generation to reach etcd.
const writeTimeout = 10 * time.Second

// decide looks at the state whenever something changed, and does what quorum says, until the run is over.
func (c *Coordinator) decide(ctx context.Context) {
	members := c.registry.WatchMembers(ctx)
	lost := c.lead.Lost()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ms, open := <-members:
			if !open {
				members = nil // as ctx is over
				continue
			}
			c.mu.Lock()
			c.state.members = ms
			c.mu.Unlock()
		case <-lost:
			lost = nil
			c.fail(fmt.Sprintf("this coordinator no longer leads run %q: its lease in the etcd at %v ended, or that etcd cannot be reached; see to etcd and resume the run", c.config.Run, c.etcd))
		case <-c.kick:
		case <-timer.C:
		}
		if c.step(ctx) {
			return
		}
		timer.Reset(c.untilNext())
	}
}

// untilNext is when time alone may change the decision.
func (c *Coordinator) untilNext() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.state
	switch {
	case s.decision.Phase == quorum.Waiting && c.config.WaitTimeout > 0:
		return max(0, time.Until(s.started.Add(c.config.WaitTimeout)))
	case s.decision.Phase == quorum.Failed:
		return max(0, time.Until(s.ordered.Add(patience)))
	}
	return time.Hour
}

// step decides once and acts. It says whether the run is over.
func (c *Coordinator) step(ctx context.Context) bool {
	c.mu.Lock()
	d := quorum.Decide(c.quorumState(time.Now()))
	c.adopt(d)
	c.mu.Unlock()
	if d.Generation != nil {
		// Written without the lock, yet known before: a trainer may read it in etcd and report at once.
		bound, cancel := context.WithTimeout(ctx, writeTimeout)
		err := c.registry.PutGeneration(bound, c.lead, generationMessage(d.Generation))
		cancel()
		switch {
		case errors.Is(err, membership.ErrDeposed):
			c.fail(fmt.Sprintf("another coordinator leads run %q now; follow that one", c.config.Run))
		case err != nil && ctx.Err() == nil:
			c.fail(fmt.Sprintf("generation %d cannot be put in force: %v", d.Generation.Number, err))
		}
	}
	return d.Over
}

// adopt makes a decision the one in force; c.mu is held.
func (c *Coordinator) adopt(d quorum.Decision) {
	s := &c.state
	if d.Phase == quorum.Failed && s.decision.Phase != quorum.Failed {
		s.ordered = time.Now()
	}
	if g := d.Generation; g != nil {
		s.generation, s.generations = g, g.Number
		s.ledger, s.begun = newLedger(g), time.Now()
		for _, t := range g.Seats {
			if t.KernelSet != "" {
				s.kernelSets[t.KernelSet] = true
			}
		}
		c.log.Info("generation", "number", g.Number, "reason", g.Reason, "after", g.After)
		c.keep(c.record.generation(g))
	}
	changed := d.Phase != s.decision.Phase || d.Reason != s.decision.Reason
	s.decision = d
	if changed {
		c.log.Info(string(d.Phase), "reason", d.Reason, "iteration", s.applied())
		c.keep(c.record.status(c.status()))
	}
	for _, refusal := range d.Refused {
		for r := range s.streams {
			if r.id == refusal.ID {
				r.order(refusal.Reason)
			}
		}
	}
	if d.Stop || d.Over {
		for r := range s.streams {
			r.order(d.Reason)
		}
	}
	if d.Over {
		c.conclude(d)
	}
}

// conclude records how the run ended; c.mu is held.
func (c *Coordinator) conclude(d quorum.Decision) {
	s := &c.state
	if missing := s.evaluations.incomplete(); missing != "" {
		c.log.Warn("the run ended with an evaluation that is not whole", "missing", missing)
		if d.Phase == quorum.Finished {
			d.Reason += "; but " + missing
		}
	}
	s.result = c.finalResult(d)
	rate := 0.0
	if seconds := s.result.GetSeconds(); seconds > 0 && s.applied() > s.after {
		rate = float64(s.applied()-s.after) * float64(c.config.Spec.GetBatch()) / seconds
	}
	if err := c.record.end(s.result, rate); err != nil {
		c.log.Error("the result of the run cannot be recorded", "error", err)
		if !s.unrecorded { // else the reason says so already
			s.result.Reason += fmt.Sprintf("; and the result could not be recorded: %v", err)
		}
	}
	close(c.over)
}

// fail ends the run for a reason that lies with the coordinator or in the run itself.
func (c *Coordinator) fail(message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(message)
}

func (c *Coordinator) failLocked(message string) {
	c.state.failures = append(c.state.failures, quorum.Failure{Message: message, Deterministic: true})
	c.wake()
}

// keep fails the run if its record cannot be written; c.mu is held. What is on disk stays whole.
func (c *Coordinator) keep(err error) {
	if err == nil || c.state.unrecorded {
		return
	}
	c.state.unrecorded = true
	todo := "see to the folder and resume the run"
	if noSpace(err) {
		todo = "free some space and resume the run"
	}
	c.failLocked(fmt.Sprintf("the record of the run in %s cannot be written: %v; %s", c.config.Dir, err, todo))
}

// reportStream is a trainer's open Report.
type reportStream struct {
	id     string // empty until it has said who it is; c.mu guards it
	orders chan *ditherv1.ReportResponse
}

// order tells the trainer to stop; it is told once.
func (r *reportStream) order(reason string) {
	select {
	case r.orders <- &ditherv1.ReportResponse{Stop: true, Reason: reason}:
	default:
	}
}
