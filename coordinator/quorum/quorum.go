// Package quorum decides who trains which shards now, and why. It is a pure function of what is known: no clock, no network, no etcd.
package quorum

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Phase is where a run is.
type Phase string

const (
	Waiting  Phase = "waiting"  // for its trainers and teachers
	Training Phase = "training" // a generation is in force
	Stopping Phase = "stopping" // asked to end early; not every trainer has said its last word
	Finished Phase = "finished" // every trainer is through, and they agree
	Stopped  Phase = "stopped"  // ended early, in order
	Failed   Phase = "failed"   // ended as it should not
)

// Member is a process of the run: a trainer or a teacher-logit service.
type Member struct {
	ID         string
	Address    string // where it listens
	Process    string // "host:pid"
	KernelSet  string
	Version    string
	Arithmetic string
}

func (m Member) String() string {
	if m.Process == "" {
		return m.ID
	}
	return m.ID + " (" + m.Process + ")"
}

// same says that m is the process that it was, not one that took its id over.
func (m Member) same(o Member) bool {
	return m.ID == o.ID && m.Process == o.Process && m.Address == o.Address
}

// Seat is a trainer's place in a generation; its index is its rank.
type Seat struct {
	Member
	Range
}

// Generation is one fixed set of trainers and who owns which shards. It is never changed once made.
type Generation struct {
	Number   uint64
	Seats    []Seat // by id; their ranges follow one another from shard 0
	Teachers []Member
	Reason   string
	After    uint32 // iteration that it begins after
}

// Word is a trainer's last word when it ended in order.
type Word struct {
	Iteration  uint32 // last applied
	Parameters string // sha256 (hex)
	Stopped    bool   // before its last iteration
}

// Failure is why somebody gave up. That of a trainer outside the generation is its own affair.
type Failure struct {
	ID            string // of the trainer; empty: the coordinator
	Message       string // what, where and what to do
	Deterministic bool   // it has its cause in the run itself, not in a peer that went away
}

// State is all that a decision rests on.
type State struct {
	// What the run asks for.
	Shards      int
	Trainers    int // that the first generation waits for
	NeedTeacher bool
	Version     string // of the coordinator: everybody's must be the same
	Arithmetic  string // of the spec
	// TeacherArithmetic is the one that the spec asks of teachers; empty: any.
	TeacherArithmetic string
	Iterations        uint32 // of the whole run
	StopAfter         uint32 // 0: never
	After             uint32 // iteration of the checkpoint that this execution begins with
	WaitTimeout       time.Duration
	Patience          time.Duration // with trainers that were ordered to stop after a failure

	// What is so now.
	Present    []Member // trainers in etcd
	Teachers   []Member // teacher-logit services in etcd
	Generation *Generation
	Iteration  uint32            // last applied
	Gone       map[string]string // trainers that went without a last word, and how it was noticed, beyond being absent from Present
	Words      map[string]Word
	Failures   []Failure // in the order in which they came
	Doomed     *Decision // an earlier decision that the run fails; nil: there was none
	StopAsked  bool
	StopReason string
	Waited     time.Duration // since the coordinator began to wait
	Ordered    time.Duration // since the trainers were ordered to stop after a failure
}

// Refusal is a process that cannot take part.
type Refusal struct {
	ID     string
	Reason string
}

// Decision is what to do.
type Decision struct {
	Phase  Phase
	Reason string // in words
	// Generation is to be put in force; nil: none.
	Generation *Generation
	// Stop is set where the trainers of the generation must stop after the iteration in flight; Reason says why.
	Stop bool
	// Refused are to be sent away, by id.
	Refused []Refusal
	// Temporary is set for Failed where a retry may succeed: a process was lost, or did not come in time.
	Temporary bool
	// Over is set once nobody is left to hear from: the phase and the reason are final.
	Over bool
}

// Decide is the next step.
func Decide(s State) Decision {
	if s.Trainers < 1 || s.Trainers > s.Shards {
		return Decision{Phase: Failed, Over: true, Reason: fmt.Sprintf("%s for %s: a run takes at least one, and at most one a shard; choose --trainers from 1 to %d",
			count(s.Trainers, "trainer"), count(s.Shards, "shard"), s.Shards)}
	}
	if s.Generation == nil {
		return gather(s)
	}
	d := follow(s)
	for _, m := range s.Present {
		if !slices.ContainsFunc(s.Generation.Seats, func(t Seat) bool { return t.ID == m.ID }) {
			d.Refused = append(d.Refused, Refusal{m.ID, fmt.Sprintf("trainer %v came too late: generation %d has its %s, and none can join it; stop this one",
				m, s.Generation.Number, count(len(s.Generation.Seats), "trainer"))})
		}
	}
	return d
}

// gather waits for the first generation and makes it.
func gather(s State) Decision {
	trainers, teachers, refused := admit(s)
	d := Decision{Phase: Waiting, Refused: refused}
	switch {
	case slices.ContainsFunc(s.Failures, Failure.ours):
		d.Phase, d.Reason, d.Over = Failed, s.Failures[slices.IndexFunc(s.Failures, Failure.ours)].Message, true
		return d
	case s.StopAsked:
		d.Phase, d.Reason, d.Over = Stopped, "stopped before it began: "+s.StopReason, true
		return d
	}
	var lack []string
	if n := s.Trainers - len(trainers); n > 0 {
		lack = append(lack, fmt.Sprintf("%d more %s (%d of %d have joined)", n, plural(n, "trainer"), len(trainers), s.Trainers))
	}
	if s.NeedTeacher && len(teachers) == 0 {
		lack = append(lack, "a teacher-logit service")
	}
	if len(lack) == 0 {
		d.Phase = Training
		d.Generation = first(s, trainers[:s.Trainers], teachers)
		d.Reason = d.Generation.Reason
		return d
	}
	d.Reason = "waiting for " + strings.Join(lack, " and ")
	for _, r := range refused {
		d.Reason += "; refused: " + r.Reason
	}
	if s.WaitTimeout > 0 && s.Waited >= s.WaitTimeout {
		d.Phase, d.Over, d.Temporary = Failed, true, true
		d.Reason = fmt.Sprintf("gave up after %v of %s; start what is missing and try again", s.WaitTimeout, d.Reason)
	}
	return d
}

// admit sorts those who are there into trainers and teachers, by id, and those who cannot take part.
func admit(s State) (trainers, teachers []Member, refused []Refusal) {
	check := func(role string, m Member, arithmetic string) bool {
		var why string
		switch {
		case m.Version != s.Version:
			why = fmt.Sprintf("its version is %q, the run's is %q: start the same build everywhere", m.Version, s.Version)
		case arithmetic != "" && m.Arithmetic != arithmetic:
			why = fmt.Sprintf("its arithmetic is %q, the run's is %q: choose kernels of that arithmetic with --kernels", m.Arithmetic, arithmetic)
		default:
			return true
		}
		refused = append(refused, Refusal{m.ID, fmt.Sprintf("%s %v: %s", role, m, why)})
		return false
	}
	for _, m := range s.Present {
		if check("trainer", m, s.Arithmetic) {
			trainers = append(trainers, m)
		}
	}
	for _, m := range s.Teachers {
		if check("teacher-logit service", m, s.TeacherArithmetic) {
			teachers = append(teachers, m)
		}
	}
	byID := func(a, b Member) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(trainers, byID)
	slices.SortFunc(teachers, byID)
	return trainers, teachers, refused
}

func first(s State, trainers, teachers []Member) *Generation {
	g := &Generation{Number: 1, Teachers: teachers, After: s.After}
	for rank, r := range Ranges(s.Shards, len(trainers)) {
		g.Seats = append(g.Seats, Seat{trainers[rank], r})
	}
	verb := "own"
	if len(trainers) == 1 {
		verb = "owns"
	}
	g.Reason = fmt.Sprintf("%s %s %s", count(len(trainers), "trainer"), verb, count(s.Shards, "shard"))
	return g
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func count(n int, noun string) string { return fmt.Sprintf("%d %s", n, plural(n, noun)) }
