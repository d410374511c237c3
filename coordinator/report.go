package coordinator

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// openStream takes note of a Report that was opened. One that comes when the trainers were told to stop is told too.
func (c *Coordinator) openStream() *reportStream {
	r := &reportStream{orders: make(chan *ditherv1.ReportResponse, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.streams[r] = struct{}{}
	if d := c.state.decision; d.Stop || d.Over {
		r.order(d.Reason)
	}
	return r
}

// closeStream takes note that a Report ended. A trainer of the generation that had not said its last word is gone.
func (c *Coordinator) closeStream(r *reportStream, how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.state.streams, r)
	if r.id == "" || c.state.rank(r.id) < 0 || c.state.spoke(r.id) || c.state.result != nil {
		return
	}
	c.state.gone[r.id] = how
	c.wake()
}

// receive takes one record. An error refuses the stream; what fails the run is kept in the state.
func (c *Coordinator) receive(r *reportStream, m *ditherv1.ReportRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.identify(r, m); err != nil {
		return err
	}
	s := &c.state
	if s.result != nil {
		return nil // who speaks after the end is not heard
	}
	rank := s.rank(r.id)
	if rank < 0 {
		switch f := m.GetFailure(); {
		case f != nil:
			c.log.Warn("a trainer outside the generation gave up", "trainer", r.id, "reason", f.GetMessage())
		case m.GetRecord() != nil:
			return ditherv1.Fault(codes.FailedPrecondition, fmt.Sprintf("trainer %s is in no generation of run %s", r.id, c.config.Run), "Report", "wait for a generation that names it")
		}
		return nil
	}
	if k := m.GetKernelSet(); k != "" {
		s.kernelSets[k] = true
	}
	switch {
	case m.GetIteration() != nil:
		c.applied(rank, m.GetIteration())
	case m.GetPart() != nil:
		c.evaluated(rank, m.GetPart())
	case m.GetFinished() != nil:
		f := m.GetFinished()
		s.words[r.id] = quorum.Word{Iteration: f.GetIteration(), Parameters: f.GetParametersSha256(), Stopped: f.GetStopped()}
		c.wake()
	case m.GetFailure() != nil:
		f := m.GetFailure()
		c.log.Error("a trainer gave up", "trainer", r.id, "reason", f.GetMessage(), "iteration", f.GetIteration())
		s.failures = append(s.failures, quorum.Failure{ID: r.id, Message: f.GetMessage(), Deterministic: f.GetDeterministic()})
		c.wake()
	}
	return nil
}

// identify binds a stream to the trainer that speaks on it; c.mu is held.
func (c *Coordinator) identify(r *reportStream, m *ditherv1.ReportRequest) error {
	id := m.GetId()
	switch {
	case id == "":
		return ditherv1.Fault(codes.InvalidArgument, "a record does not say whose it is", "Report", "set its id")
	case r.id == id:
		return nil
	case r.id != "":
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("a record of %q came on the stream of %q", id, r.id), "Report", "open one stream for each trainer")
	}
	for other := range c.state.streams {
		if other.id == id {
			return ditherv1.Fault(codes.AlreadyExists, fmt.Sprintf("trainer %q reports on another stream already", id), "Report", "start this one under another --id")
		}
	}
	r.id = id
	for _, refusal := range c.state.decision.Refused {
		if refusal.ID == id {
			r.order(refusal.Reason)
		}
	}
	return nil
}

// applied takes the record of an iteration; c.mu is held.
func (c *Coordinator) applied(rank int, m *ditherv1.IterationRecord) {
	s := &c.state
	if s.disagreed {
		return // they were told to stop, and there is nothing to be learnt from them
	}
	whole, err := s.ledger.add(rank, m)
	if err != nil {
		s.disagreed = true
		c.failLocked(fmt.Sprintf("%v; this is a defect of dither or of a machine: do not use the parameters, and report it", err))
		return
	}
	s.reported[s.generation.Seats[rank].ID]++
	if rank == 0 {
		s.loss = m.GetLoss()
		s.tick(time.Now())
	}
	if whole != nil {
		c.keep(c.record.iteration(whole, s.generations, s.rate()*float64(c.config.Spec.GetBatch())))
	}
}

// evaluated takes a part of an evaluation; c.mu is held.
func (c *Coordinator) evaluated(rank int, m *ditherv1.Part) {
	whole, err := c.state.evaluations.add(m)
	if err != nil {
		c.failLocked(fmt.Sprintf("trainer %v: %v; this is a defect of dither: report it", c.state.generation.Seats[rank].Member, err))
		return
	}
	if whole != nil {
		c.keep(c.record.evaluation(whole))
	}
}
