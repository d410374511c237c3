package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	writeTimeout = 5 * time.Second        // for one try to write to etcd
	writeAgain   = 250 * time.Millisecond // between two tries
	looks        = 8                      // at the state in the time of Silence, though nothing was said
)

// decide looks at the state whenever something changed, and as time goes by, and does what quorum says, until the run is over: then it gives the
// result. nil: the lead was lost, or the context is over.
func (t *term) decide(ctx context.Context) *ditherv1.RunResult {
	ctx, cancel := context.WithCancel(ctx)
	journal := make(chan struct{})
	go func() {
		defer close(journal)
		t.journal.run(ctx, t)
	}()
	defer func() {
		cancel()
		<-journal
	}()
	members := t.registry.WatchMembers(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ms, open := <-members:
			if !open {
				members = nil // as ctx is over
				continue
			}
			t.mu.Lock()
			t.members = ms
			t.mu.Unlock()
		case <-t.lead.Lost():
			t.depose(fmt.Sprintf("this coordinator no longer leads run %q: its lease in etcd ended, or etcd could not be reached for %v", t.config.Run, t.config.LeaseTTL))
		case <-t.kick:
		case <-timer.C:
		}
		if t.why() != "" {
			return nil
		}
		if t.step(ctx) {
			return t.finish(ctx)
		}
		timer.Reset(t.config.Silence / looks)
	}
}

// why says how the lead was lost; empty: it was not.
func (t *term) why() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.deposed
}

// depose notes that the lead is lost.
func (t *term) depose(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deposed == "" {
		t.deposed = why
	}
	t.wake()
}

// step decides once and acts. It says whether the run is over.
func (t *term) step(ctx context.Context) bool {
	t.mu.Lock()
	now := time.Now()
	t.forget(now)
	t.forgive(now)
	d := quorum.Decide(t.sight(now))
	t.adopt(d, now)
	t.mu.Unlock()
	if d.Generation != nil {
		// Written without the lock, yet known before: a trainer may read it in etcd and report at once.
		t.enforce(ctx, d.Generation)
	}
	return d.Over
}

// forgive takes this process's own pause (it was frozen, or its host was) for what it is: nobody was heard meanwhile, and nobody was silent for it. t.mu is held.
func (t *term) forgive(now time.Time) {
	if away := now.Sub(t.looked); !t.looked.IsZero() && away > t.config.Silence/2 {
		for _, p := range t.peers {
			if p.heard = p.heard.Add(away); p.heard.After(now) {
				p.heard = now
			}
		}
	}
	t.looked = now
}

// enforce writes a generation to etcd, for as long as that takes: who does not lead any more cannot.
func (t *term) enforce(ctx context.Context, g *quorum.Generation) {
	m := t.message(g)
	for tries := 0; ctx.Err() == nil && t.why() == ""; tries++ {
		bound, cancel := context.WithTimeout(ctx, writeTimeout)
		err := t.registry.PutGeneration(bound, t.lead, m)
		if errors.Is(err, membership.ErrStale) && tries > 0 { // a try that seemed to fail may have been written
			if there, read := t.registry.Generation(bound); read == nil && proto.Equal(there, m) {
				err = nil
			}
		}
		cancel()
		switch {
		case err == nil:
			t.note("generation", "")
			return
		case errors.Is(err, membership.ErrDeposed):
			t.depose(fmt.Sprintf("another coordinator leads run %q now", t.config.Run))
			return
		case errors.Is(err, membership.ErrStale):
			t.mu.Lock()
			t.fail(fmt.Sprintf("generation %d cannot be put in force: %v; something else writes under this run's name in etcd", g.Number, err))
			t.mu.Unlock()
			return
		}
		if ctx.Err() == nil {
			t.note("generation", fmt.Sprintf("generation %d waits for etcd: %v", g.Number, err))
		}
		select {
		case <-time.After(writeAgain):
		case <-t.lead.Lost():
			t.depose(fmt.Sprintf("this coordinator no longer leads run %q: etcd could not be reached for %v", t.config.Run, t.config.LeaseTTL))
		case <-ctx.Done():
		}
	}
}

// adopt makes a decision the one in force; t.mu is held.
func (t *term) adopt(d quorum.Decision, now time.Time) {
	if d.Phase == quorum.Failed && t.decision.Phase != quorum.Failed {
		t.ordered = now
	}
	if d.Phase != quorum.Waiting {
		t.waiting = time.Time{}
	} else if t.waiting.IsZero() {
		t.waiting = now
	}
	if !d.TeacherAway {
		t.teacherAway = time.Time{}
	} else if t.teacherAway.IsZero() {
		t.teacherAway = now
	}
	if g := d.Generation; g != nil {
		t.generation, t.last, t.iteration = g, g.Number, g.After
		if t.begun.IsZero() {
			t.begun = now
		}
		for _, seat := range g.Seats {
			if seat.KernelSet != "" {
				t.kernelSets[seat.KernelSet] = true
			}
		}
		t.log.Info("generation", "number", g.Number, "reason", g.Reason, "after", g.After, "planned", g.Planned)
		t.keep(t.record.generation(g))
	}
	changed := d.Phase != t.decision.Phase || d.Reason != t.decision.Reason
	for _, note := range d.Notes {
		if !slices.Contains(t.decision.Notes, note) {
			t.log.Info("note", "note", note)
		}
	}
	t.decision = d
	if changed {
		t.log.Info(string(d.Phase), "reason", d.Reason, "iteration", t.iteration)
		t.keep(t.record.status(t.status()))
	}
	t.tell(d)
	if d.Over {
		t.conclude(d)
	}
}

// tell passes on what a decision orders; t.mu is held. That the run is over is told once its result is kept.
func (t *term) tell(d quorum.Decision) {
	for i, list := range [][]quorum.Refusal{d.Refused, d.Dismissed} {
		for _, r := range list {
			if p := t.peers[r.ID]; p != nil && p.session != nil && !p.let {
				t.log.Info("a trainer is let go", "trainer", p.ID, "reason", r.Reason, "refused", i == 0)
				p.let = true
				p.session.order(&ditherv1.ReportResponse{Over: true, Refused: i == 0, Reason: r.Reason})
			}
		}
	}
	if d.Stop {
		for s := range t.sessions {
			if s.peer != nil {
				s.order(&ditherv1.ReportResponse{Stop: true, Reason: d.Reason})
			}
		}
	}
}

// conclude records how the run ended; t.mu is held.
func (t *term) conclude(d quorum.Decision) {
	t.enter(t.ledger.rest())
	if missing := t.evaluations.incomplete(); missing != "" {
		t.log.Warn("the run ended with an evaluation that is not whole", "missing", missing)
		if d.Phase == quorum.Finished {
			d.Reason += "; but " + missing
		}
	}
	t.result = t.finalResult(d)
	rate := 0.0
	if seconds := t.result.GetSeconds(); seconds > 0 && t.iteration > t.begunAt {
		rate = float64(t.iteration-t.begunAt) * float64(t.config.Spec.GetBatch()) / seconds
	}
	if err := t.record.end(t.result, rate); err != nil {
		t.log.Error("the result of the run cannot be recorded", "error", err)
		if !t.unrecorded { // else the reason says so already
			t.result.Reason += fmt.Sprintf("; and the result could not be recorded: %v", err)
		}
	}
}

// finish leaves the result to those in line, takes the log out of etcd, and tells every trainer that the run is over.
func (t *term) finish(ctx context.Context) *ditherv1.RunResult {
	if err := t.bequeath(ctx); err != nil {
		t.log.Warn("the result of the run is not in etcd: a coordinator in line will wait for trainers", "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(t.peers)) {
		if s := t.peers[id].session; s != nil {
			s.order(&ditherv1.ReportResponse{Over: true, Reason: t.result.GetReason()})
		}
	}
	return t.result
}

// bequeath writes the result to etcd, for as long as this coordinator leads: nobody else knows it.
func (t *term) bequeath(ctx context.Context) error {
	value, err := protojson.Marshal(t.result)
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	for {
		bound, cancel := context.WithTimeout(ctx, writeTimeout)
		err := t.registry.PutPaper(bound, t.lead, paperResult, value)
		if err == nil {
			err = t.registry.DropPapers(bound, t.lead, paperLog)
		}
		cancel()
		if err == nil || errors.Is(err, membership.ErrDeposed) {
			return err
		}
		select {
		case <-time.After(writeAgain):
		case <-t.lead.Lost():
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// fail ends the run for a reason that another try would meet again; t.mu is held.
func (t *term) fail(message string) {
	t.failures = append(t.failures, quorum.Failure{Message: message, Deterministic: true})
	t.wake()
}

// cannotWrite ends the run at once, to be resumed when what is wrong with the folder is mended; t.mu is held.
func (t *term) cannotWrite(message string) {
	t.failures = append(t.failures, quorum.Failure{Message: message, Unwritable: true})
	t.wake()
}

// keep fails the run if its record cannot be written; t.mu is held. What is on disk stays whole.
func (t *term) keep(err error) {
	if err == nil || t.unrecorded {
		return
	}
	t.unrecorded = true
	todo := "see to the folder and resume the run"
	if noSpace(err) {
		todo = "free some space and resume the run"
	}
	t.cannotWrite(fmt.Sprintf("the record of the run in %s cannot be written: %v; %s", t.config.Dir, err, todo))
}
