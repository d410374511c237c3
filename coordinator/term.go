package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Names of the papers that a leader leaves for the next one.
const (
	paperSpec   = "spec"   // a RunFile: whose run it is
	paperResult = "result" // a RunResult: the run is over
	paperLog    = "log/"   // batches of the run's record
)

// errOtherRun is for a run's name in etcd that belongs to another run.
var errOtherRun = errors.New("etcd has another run under this name")

// term is the time for which a coordinator leads, and all that it knows of the run. Another leader begins with another one, of the same record.
type term struct {
	config    Config
	log       *slog.Logger
	address   string
	registry  membership.Registry
	lead      *membership.Leadership
	store     *checkpoints
	record    *record
	journal   *journal
	kick      chan struct{}       // capacity 1: there is something new to decide on
	concluded bool                // etcd has a result, of this execution or an earlier one
	ended     *ditherv1.RunResult // the run was over before this term began; nil: it was not

	mu    sync.Mutex // over all below
	state            // what is known of the run
}

// begin begins a term: the run that goes on is taken over, else a new execution begins. Without success the lead is given up.
func (c *Coordinator) begin(ctx context.Context, lead *membership.Leadership) (t *term, err error) {
	t = &term{config: c.config, log: c.log, address: c.Address(), registry: c.registry, lead: lead, kick: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
			t = nil
		}
	}()
	if err := t.own(ctx); err != nil || t.ended != nil {
		return t, err
	}
	inForce, err := t.registry.Generation(ctx)
	if err != nil {
		return t, err
	}
	members, err := t.registry.Members(ctx)
	if err != nil {
		return t, err
	}
	goesOn := t.lives(inForce, members)
	if t.store, err = openCheckpoints(t.config.Dir); err != nil {
		return t, err
	}
	after, found := t.store.newest()
	if found && !t.config.Resume && !goesOn {
		return t, fmt.Errorf("folder %s has checkpoints of an earlier run (the newest after iteration %d): go on with it with --resume, or use another folder", t.config.Dir, after)
	}
	if err := t.open(ctx, goesOn, after); err != nil {
		return t, err
	}
	if t.state = newState(t.config, t.record, after); !goesOn {
		t.ledger.have = max(t.ledger.have, after)
	}
	t.members, t.last = members, inForce.GetNumber()
	if goesOn {
		t.takeOver(inForce)
	}
	return t, nil
}

// own makes sure that the run's name in etcd is this run's, and says so there. It finds out whether the run ended while this coordinator was in line.
func (t *term) own(ctx context.Context) error {
	papers, err := t.registry.Papers(ctx, "")
	if err != nil {
		return err
	}
	for _, p := range papers {
		switch p.Name {
		case paperSpec:
			var there ditherv1.RunFile
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(p.Value, &there); err != nil {
				return fmt.Errorf("%w: run %q has a spec there that cannot be read (%v): use another --etcd or name", errOtherRun, t.config.Run, err)
			}
			if differences := ditherv1.Differences(t.config.Spec, there.GetSpec()); len(differences) > 0 {
				return fmt.Errorf("%w: run %q differs in %s; use another folder or --etcd", errOtherRun, t.config.Run, strings.Join(differences, ", "))
			}
		case paperResult:
			r := &ditherv1.RunResult{}
			// A coordinator in line may have lost its place there when the result was written; what is finished is not begun again by one that only stands by.
			err := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(p.Value, r)
			t.concluded = true
			if err == nil && (t.lead.StoodBefore(p) || t.config.Standby && r.GetPhase() == string(quorum.Finished)) {
				t.ended = r
			}
		}
	}
	if t.ended != nil {
		return nil
	}
	value, err := protojson.Marshal(&ditherv1.RunFile{Spec: t.config.Spec, Options: t.config.Options})
	if err != nil {
		return fmt.Errorf("encoding the spec: %w", err)
	}
	return t.registry.PutPaper(ctx, t.lead, paperSpec, value)
}

// lives says that a generation is of this run, and that somebody of it is still there. Behind another leader that is so until a result says otherwise: where etcd was away for longer than
// leases last nobody is in it, and its trainers live all the same.
func (t *term) lives(g *ditherv1.Generation, members []*ditherv1.Member) bool {
	if g.GetRun() != t.config.Run || g.GetSpecSha256() != t.config.SpecSHA256 {
		return false
	}
	if t.config.Standby && !t.concluded {
		return true
	}
	return slices.ContainsFunc(g.GetTrainers(), func(seat *ditherv1.Member) bool {
		return slices.ContainsFunc(members, func(m *ditherv1.Member) bool {
			return m.GetRole() == roleTrainer && same(member(m), member(seat))
		})
	})
}

// open opens the run's record: with what earlier leaders left in etcd where the run goes on, else from the newest checkpoint on.
func (t *term) open(ctx context.Context, goesOn bool, after uint32) (err error) {
	var papers []membership.Paper
	if goesOn {
		if papers, err = t.registry.Papers(ctx, paperLog); err != nil {
			return err
		}
	} else {
		for _, old := range []string{paperLog, paperResult} {
			if err := t.registry.DropPapers(ctx, t.lead, old); err != nil {
				return err
			}
		}
	}
	t.journal = newJournal(papers)
	if goesOn {
		t.record, err = takeOverRecord(t.config, t.journal)
	} else {
		t.record, err = openRecord(t.config, t.journal, after)
	}
	return err
}

// takeOver goes on with the generation that an earlier leader put in force. Its trainers say where they stand when they call.
func (t *term) takeOver(m *ditherv1.Generation) {
	g := generationOf(m)
	t.generation, t.takenOver = g, true
	t.iteration = max(t.iteration, g.After)
	t.begunAt = t.ledger.have
	for _, seat := range g.Seats {
		t.kernelSets[seat.KernelSet] = true
	}
	if t.record.newest < g.Number { // the earlier leader had no time to leave it
		t.keep(t.record.generation(g))
	}
	t.log.Info("taking over", "run", t.config.Run, "generation", g.Number, "have", t.ledger.have)
}

// stop ends the run after the iteration in flight.
func (t *term) stop(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopAsked {
		t.stopAsked, t.stopReason = true, reason
	}
	t.wake()
}

// wake has the state looked at again.
func (t *term) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// isOver says that the run is.
func (t *term) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.result != nil
}

// applied is the last applied iteration that is on record.
func (t *term) applied() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ledger.have
}

// close gives the lead up and closes the record.
func (t *term) close() error {
	bound, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	_ = t.lead.Resign(bound) // else its lease ends by itself
	if t.record != nil {
		return t.record.close()
	}
	return nil
}

// note says something to know beside the decision, or that it is no more; empty: no more.
func (t *term) note(about, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case what == "" && t.troubles[about] != "":
		t.log.Info("it is well again", "about", about)
		delete(t.troubles, about)
	case what != "":
		if t.troubles[about] != what {
			t.log.Warn("trouble", "about", about, "what", what)
		}
		t.troubles[about] = what
	}
}

// since is how long ago t was; 0: never.
func since(t, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return now.Sub(t)
}
