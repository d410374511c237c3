package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// peer is what is known of one trainer by its own word. The term's mutex guards it.
type peer struct {
	quorum.Member
	session   *Session  // nil: its stream is broken
	heard     time.Time // its last word, or the end of its stream
	beat      *ditherv1.Beat
	exchanged uint64 // the last generation that it said to be in; words belong to it
	leaving   string
	let       bool // it was told that it may go, or must
}

func (p *peer) iteration() uint32 { return p.beat.GetIteration() }

// receive takes a record of p; t.mu is held.
func (t *term) receive(p *peer, m *ditherv1.ReportRequest) error {
	if t.result != nil || p.let {
		return nil // who speaks after the end is not heard
	}
	switch {
	case m.GetHello() != nil:
		t.beat(p, m.GetHello().GetBeat())
	case m.GetBeat() != nil:
		t.beat(p, m.GetBeat())
	case m.GetIteration() != nil:
		return t.iterated(p, m.GetIteration())
	case m.GetPart() != nil:
		t.evaluated(p, m.GetPart())
	case m.GetFinished() != nil:
		f := m.GetFinished()
		t.words[p.ID] = quorum.Word{Generation: p.exchanged, Iteration: f.GetIteration(), Parameters: clip(f.GetParametersSha256()), Stopped: f.GetStopped()}
		t.wake()
	case m.GetFailure() != nil:
		f := m.GetFailure()
		t.log.Error("a trainer gave up", "trainer", p.ID, "reason", clip(f.GetMessage()), "iteration", f.GetIteration())
		if !slices.ContainsFunc(t.failures, func(o quorum.Failure) bool { return same(o.Member, p.Member) }) {
			t.failures = append(t.failures, quorum.Failure{Member: p.Member, Message: clip(f.GetMessage()), Deterministic: f.GetDeterministic(), Diverged: f.GetDiverged()})
		}
		t.wake()
	case m.GetAborted() != nil:
		return t.aborted(p, m.GetAborted())
	case m.GetLeaving() != nil:
		if p.leaving = clip(m.GetLeaving().GetReason()); p.leaving == "" {
			p.leaving = "it was asked to"
		}
		t.log.Info("a trainer leaves", "trainer", p.ID, "reason", p.leaving)
		t.wake()
	}
	return nil
}

// beat takes a trainer's word on where it stands.
func (t *term) beat(p *peer, b *ditherv1.Beat) {
	old := p.beat
	p.beat = &ditherv1.Beat{Generation: b.GetGeneration(), Iteration: b.GetIteration(), HasState: b.GetHasState(), Loss: b.GetLoss(), Doing: clip(b.GetDoing())}
	if b.GetGeneration() != 0 {
		p.exchanged = b.GetGeneration()
	}
	if b.GetHasState() {
		if t.seated(p.Member) && b.GetIteration() <= t.config.Spec.GetIterations() {
			t.iteration = max(t.iteration, b.GetIteration())
		}
		t.compareLoss(p)
	}
	if old == nil || old.GetGeneration() != b.GetGeneration() || old.GetHasState() != b.GetHasState() || old.GetDoing() != p.beat.GetDoing() {
		t.wake()
	}
}

// compareLoss holds the loss that a trainer has seen against the record. One that was not there for the iteration has none (0).
func (t *term) compareLoss(p *peer) {
	if b := p.beat; b.GetHasState() && b.GetLoss() != 0 {
		t.agree(t.ledger.loss(p.String(), b.GetIteration(), b.GetLoss()))
	}
}

// agree fails the run where trainers contradict each other.
func (t *term) agree(err error) {
	if err != nil && !t.disagreed {
		t.disagreed = true
		t.fail(err.Error())
	}
}

// iterated takes the record of an iteration.
func (t *term) iterated(p *peer, m *ditherv1.IterationRecord) error {
	if t.disagreed {
		return nil // they were told to stop, and there is nothing to be learnt from them
	}
	fresh, err := t.ledger.add(p.String(), m)
	if errors.Is(err, errMalformed) {
		return ditherv1.Fault(codes.InvalidArgument, err.Error(), "Report", "this is a defect of dither: report it")
	}
	if err != nil {
		t.agree(err)
		return nil
	}
	if t.seated(p.Member) {
		t.iteration = max(t.iteration, m.GetIteration())
	}
	if len(fresh) == 0 && t.rank(p.Member) == 0 { // done again
		t.loss = m.GetLoss()
		t.tick(time.Now())
	}
	t.enter(fresh)
	return nil
}

// enter records iterations that are new.
func (t *term) enter(fresh []*entry) {
	for _, e := range fresh {
		t.loss = e.record.GetLoss()
		t.tick(time.Now())
		t.pace(e.record.GetShardSeconds())
		if e.skipped > 0 {
			t.log.Warn("iterations are not on record: no trainer had kept them", "from", e.record.GetIteration()-e.skipped, "to", e.record.GetIteration()-1)
		}
		t.keep(t.record.iteration(e, t.rate()*float64(t.config.Spec.GetBatch())))
		for _, p := range t.peers {
			if p.iteration() == e.record.GetIteration() {
				t.compareLoss(p)
			}
		}
	}
}

// evaluated takes a part of an evaluation.
func (t *term) evaluated(p *peer, m *ditherv1.Part) {
	whole, err := t.evaluations.add(m)
	if err != nil {
		t.agree(fmt.Errorf("trainer %v: %w; this is a defect of dither: report it", p.Member, err))
		return
	}
	if whole != nil {
		t.keep(t.record.evaluation(whole))
	}
}

// aborted takes a trainer's word that a generation broke.
func (t *term) aborted(p *peer, m *ditherv1.Aborted) error {
	lost := m.GetLost()
	if len(lost) > int(t.config.Spec.GetShards()) {
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("%d peers are said to be lost, of at most %d", len(lost), t.config.Spec.GetShards()), "Report", "name each once")
	}
	if err := t.ledger.begun(p.String(), m); errors.Is(err, errMalformed) {
		return ditherv1.Fault(codes.InvalidArgument, err.Error(), "Report", "this is a defect of dither: report it")
	} else if err != nil {
		t.agree(err)
	}
	if len(lost) == 0 {
		lost = []string{""}
	}
	for _, to := range lost {
		t.complain(complaint{Complaint: quorum.Complaint{Generation: m.GetGeneration(), From: p.ID, To: clip(to), Reason: clip(m.GetReason())}, at: time.Now()})
	}
	t.log.Warn("a trainer cannot go on in its generation", "trainer", p.ID, "generation", m.GetGeneration(), "iteration", m.GetIteration(), "lost", m.GetLost(), "reason", clip(m.GetReason()))
	t.wake()
	return nil
}
