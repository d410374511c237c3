package coordinator

import (
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

const (
	rateOver = 10 // iterations that a rate is taken over
	paceOver = 15 // iterations that a shard's time is the median over

	mostComplaints = 4096 // at once: 64 trainers that all miss each other
)

// state is what a term knows of its run. The term's mutex guards it.
type state struct {
	after     uint32    // iteration of the newest checkpoint
	begunAt   uint32    // iteration after which this execution, or this term, began
	started   time.Time // of the term
	takenOver bool      // it found a generation in force

	members    []*ditherv1.Member // in etcd
	seen       map[string]time.Time
	sessions   map[*Session]struct{}
	hungUp     bool
	peers      map[string]*peer // trainers that have called, by id
	generation *quorum.Generation
	last       uint64    // number of the newest generation that there ever was
	begun      time.Time // of the first generation of this term
	words      map[string]quorum.Word
	failures   []quorum.Failure
	complaints []complaint
	kernelSets map[string]bool

	ledger      *ledger
	evaluations *evaluations
	iteration   uint32      // last applied in the generation in force, as far as anybody said
	loss        float64     // of the last recorded iteration
	times       []time.Time // at which the last rateOver+1 iterations were recorded
	paces       [][]float32 // seconds of each shard, of the last paceOver iterations

	unrecorded  bool      // the record cannot be written any more
	looked      time.Time // at the state, last
	disagreed   bool      // trainers contradict each other
	deposed     string
	stopAsked   bool
	stopReason  string
	decision    quorum.Decision
	waiting     time.Time // since when the phase is waiting
	teacherAway time.Time // since when labels are missing
	ordered     time.Time // when trainers were first told to stop because of a failure
	troubles    map[string]string
	result      *ditherv1.RunResult
}

type complaint struct {
	quorum.Complaint
	at time.Time
}

func newState(config Config, r *record, after uint32) state {
	now := time.Now()
	s := state{after: after, begunAt: after, started: now, waiting: now, seen: map[string]time.Time{}, sessions: map[*Session]struct{}{}, peers: map[string]*peer{},
		words: map[string]quorum.Word{}, kernelSets: map[string]bool{}, troubles: map[string]string{},
		evaluations: newEvaluations(r.evaluations), iteration: after, loss: r.loss()}
	s.ledger = newLedger(int(config.Spec.GetShards()), config.Spec.GetIterations(), r.kept, r.result.Iterations)
	return s
}

// rank is a trainer's place in the generation; -1: it has none.
func (s *state) rank(m quorum.Member) int {
	if s.generation == nil {
		return -1
	}
	return slices.IndexFunc(s.generation.Seats, func(t quorum.Seat) bool { return same(t.Member, m) })
}

func (s *state) seated(m quorum.Member) bool { return s.rank(m) >= 0 }

// tick notes that an iteration was recorded.
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

// seconds are from the first generation to the last recorded iteration.
func (s *state) seconds() float64 {
	if len(s.times) == 0 || s.begun.IsZero() {
		return 0
	}
	return s.times[len(s.times)-1].Sub(s.begun).Seconds()
}

// pace notes the shards' seconds of an iteration.
func (s *state) pace(seconds []float32) {
	if len(seconds) == 0 {
		return
	}
	s.paces = append(s.paces, seconds)
	if len(s.paces) > paceOver {
		s.paces = slices.Delete(s.paces, 0, 1)
	}
}

// medians are each shard's seconds, over the last iterations; nil until there are enough of them.
func (s *state) medians() []float64 {
	if len(s.paces) < paceOver {
		return nil
	}
	out := make([]float64, len(s.paces[0]))
	column := make([]float32, len(s.paces))
	for shard := range out {
		for i, p := range s.paces {
			column[i] = p[shard]
		}
		slices.Sort(column)
		out[shard] = float64(column[len(column)/2])
	}
	return out
}

// complain takes a complaint once. Those about generations that never were are not heard.
func (s *state) complain(c complaint) {
	known := func(o complaint) bool { return o.Generation == c.Generation && o.From == c.From && o.To == c.To }
	if c.Generation == 0 || c.Generation > s.last || slices.ContainsFunc(s.complaints, known) {
		return
	}
	if s.complaints = append(s.complaints, c); len(s.complaints) > mostComplaints {
		s.complaints = slices.Delete(s.complaints, 0, 1)
	}
}

// forget lets go what nobody asks for any more, so that memory does not grow with the processes that come and go.
func (s *state) forget(now time.Time) {
	inEtcd := map[string]bool{}
	for _, m := range s.members {
		inEtcd[m.GetId()] = true
	}
	s.complaints = slices.DeleteFunc(s.complaints, func(c complaint) bool {
		return (s.generation == nil || c.Generation != s.generation.Number) && now.Sub(c.at) >= 2*benched
	})
	for id, p := range s.peers {
		if p.session == nil && !inEtcd[id] && !s.seated(p.Member) {
			delete(s.peers, id)
			delete(s.words, id)
		}
	}
	s.failures = slices.DeleteFunc(s.failures, func(f quorum.Failure) bool {
		return f.ID != "" && !inEtcd[f.ID] && s.peers[f.ID] == nil && !s.seated(f.Member)
	})
	for id := range s.seen {
		if !inEtcd[id] {
			delete(s.seen, id)
		}
	}
}
