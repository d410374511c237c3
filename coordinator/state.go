package coordinator

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Roles in etcd.
const (
	roleTrainer = "trainer"
	roleTeacher = "teacher"
)

// rateOver is how many iterations a rate is taken over.
const rateOver = 10

// state is all that a coordinator knows of its run. The coordinator's mutex guards it.
type state struct {
	after   uint32 // iteration of the checkpoint that this execution begins with
	started time.Time

	members     []*ditherv1.Member
	generation  *quorum.Generation
	generations uint64
	begun       time.Time // of the first generation
	streams     map[*reportStream]struct{}
	gone        map[string]string
	words       map[string]quorum.Word
	failures    []quorum.Failure
	kernelSets  map[string]bool

	ledger      *ledger // nil before the first generation
	evaluations evaluations
	reported    map[string]uint32 // iterations of this execution, by trainer
	loss        float64           // of the last applied iteration
	times       []time.Time       // at which the last rateOver+1 iterations were applied

	unrecorded bool // the record cannot be written any more
	disagreed  bool // trainers' records contradict each other
	stopAsked  bool
	stopReason string
	decision   quorum.Decision
	ordered    time.Time // when trainers were first told to stop because of a failure
	result     *ditherv1.RunResult
}

func newState(config Config, after uint32) state {
	return state{after: after, started: time.Now(), streams: map[*reportStream]struct{}{}, gone: map[string]string{}, words: map[string]quorum.Word{},
		kernelSets: map[string]bool{}, evaluations: evaluations{}, reported: map[string]uint32{}}
}

// applied is the last applied iteration.
func (s *state) applied() uint32 {
	if s.ledger == nil {
		return s.after
	}
	return s.ledger.applied
}

// rank is a trainer's place in the generation; -1: it has none.
func (s *state) rank(id string) int {
	if s.generation == nil {
		return -1
	}
	return slices.IndexFunc(s.generation.Seats, func(t quorum.Seat) bool { return t.ID == id })
}

func (s *state) spoke(id string) bool {
	_, ok := s.words[id]
	return ok || slices.ContainsFunc(s.failures, func(f quorum.Failure) bool { return f.ID == id })
}

// tick notes that an iteration was applied.
func (s *state) tick(now time.Time) {
	s.times = append(s.times, now)
	if len(s.times) > rateOver+1 {
		s.times = slices.Delete(s.times, 0, 1)
	}
}

// rate is in iterations a second, over the last ten.
func (s *state) rate() float64 {
	if len(s.times) < 2 {
		return 0
	}
	if span := s.times[len(s.times)-1].Sub(s.times[0]).Seconds(); span > 0 {
		return float64(len(s.times)-1) / span
	}
	return 0
}

// seconds are from the first generation to the last applied iteration.
func (s *state) seconds() float64 {
	if len(s.times) == 0 {
		return 0
	}
	return s.times[len(s.times)-1].Sub(s.begun).Seconds()
}

// quorumState is what the decision rests on; c.mu is held, or nobody else knows of c yet.
func (c *Coordinator) quorumState(now time.Time) quorum.State {
	s, spec := &c.state, c.config.Spec
	q := quorum.State{
		Shards: int(spec.GetShards()), Trainers: c.config.Trainers, NeedTeacher: c.config.NeedTeacher, Version: c.config.Version,
		Arithmetic: spec.GetArithmetic(), Iterations: spec.GetIterations(), StopAfter: c.config.Options.GetStopAfter(), After: s.after,
		WaitTimeout: c.config.WaitTimeout, Patience: patience,
		Generation: s.generation, Iteration: s.applied(), Gone: s.gone, Words: s.words, Failures: s.failures,
		StopAsked: s.stopAsked, StopReason: s.stopReason, Waited: now.Sub(s.started),
	}
	if spec.GetTeacher().GetModel() != nil { // precomputed logits take no arithmetic of the service's
		q.TeacherArithmetic = spec.GetTeacher().GetArithmetic()
	}
	if s.decision.Phase == quorum.Failed {
		q.Doomed, q.Ordered = &s.decision, now.Sub(s.ordered)
	}
	for _, m := range s.members {
		switch m.GetRole() {
		case roleTrainer:
			q.Present = append(q.Present, member(m))
		case roleTeacher:
			q.Teachers = append(q.Teachers, member(m))
		}
	}
	return q
}

func member(m *ditherv1.Member) quorum.Member {
	return quorum.Member{ID: m.GetId(), Address: m.GetAddress(), Process: m.GetProcess(), KernelSet: m.GetKernelSet(), Version: m.GetVersion(), Arithmetic: m.GetArithmetic()}
}

func onTheWire(m quorum.Member, role string) *ditherv1.Member {
	return &ditherv1.Member{Id: m.ID, Role: role, Address: m.Address, Process: m.Process, KernelSet: m.KernelSet, Version: m.Version, Arithmetic: m.Arithmetic}
}

// generationMessage is a generation as etcd holds it.
func generationMessage(g *quorum.Generation) *ditherv1.Generation {
	out := &ditherv1.Generation{Number: g.Number, Reason: g.Reason, AfterIteration: g.After}
	for _, t := range g.Seats {
		m := onTheWire(t.Member, roleTrainer)
		m.FirstShard, m.EndShard = uint32(t.First), uint32(t.End)
		out.Trainers = append(out.Trainers, m)
	}
	for _, m := range g.Teachers {
		out.Teachers = append(out.Teachers, onTheWire(m, roleTeacher))
	}
	return out
}

// status is the state for people; c.mu is held.
func (c *Coordinator) status() *ditherv1.StatusResponse {
	s := &c.state
	out := &ditherv1.StatusResponse{Run: c.config.Run, SpecSha256: c.config.SpecSHA256, Phase: string(s.decision.Phase), Reason: s.decision.Reason,
		Generation: s.generations, Iteration: s.applied(), Iterations: c.config.Spec.GetIterations(), Loss: s.loss,
		IterationsPerSecond: s.rate(), ImagesPerSecond: s.rate() * float64(c.config.Spec.GetBatch())}
	for _, m := range s.members {
		shown := onTheWire(member(m), m.GetRole())
		shown.Iterations = s.reported[m.GetId()]
		if rank := s.rank(m.GetId()); rank >= 0 && m.GetRole() == roleTrainer {
			seat := s.generation.Seats[rank]
			shown.FirstShard, shown.EndShard = uint32(seat.First), uint32(seat.End)
		}
		out.Members = append(out.Members, shown)
	}
	return out
}

// finalResult is how the run ended, by a decision that is final; c.mu is held.
func (c *Coordinator) finalResult(d quorum.Decision) *ditherv1.RunResult {
	s := &c.state
	r := &ditherv1.RunResult{Phase: string(d.Phase), Reason: d.Reason, Temporary: d.Temporary, Iteration: s.applied(), Generations: s.generations,
		Seconds: s.seconds(), KernelSets: slices.Sorted(maps.Keys(s.kernelSets))}
	if k, ok := c.store.newest(); ok {
		r.Checkpoint = relative(k)
	}
	// Survivors of a failure may be an iteration apart: the one ahead has the run's state. Where two differ there are no parameters to name.
	if len(s.words) == 0 {
		return r
	}
	newest := slices.MaxFunc(slices.Collect(maps.Values(s.words)), func(a, b quorum.Word) int { return cmp.Compare(a.Iteration, b.Iteration) })
	r.Iteration, r.ParametersSha256 = newest.Iteration, newest.Parameters
	for _, w := range s.words {
		if w.Iteration == newest.Iteration && w.Parameters != newest.Parameters {
			r.ParametersSha256 = ""
		}
	}
	return r
}
