package simulation

import (
	"cmp"
	"slices"
	"time"

	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/allreduce"
)

// mutant is a fault that is put in to show that it would be found. nil: none.
type mutant struct {
	name    string
	want    string            // what the failure that it causes must say
	reduce  allreduce.Mutant  // 0: none
	work    func(*network)    // nil: none
	shape   func(s *Schedule) // makes its chance likelier; nil: as drawn
	labels  func(l *labels)   // nil: none
	deposed bool              // etcd takes generations from a coordinator that does not lead
}

// mutants are those that must be found.
var mutants = []*mutant{
	{name: "an update applied twice", want: "is not the quiet run's", work: func(n *network) { n.applyTwice = true }},
	{name: "an update applied early", want: "is not the quiet run's", work: func(n *network) { n.applyEarly = true }},
	{name: "a state copied without its momentum", want: "is not the quiet run's", work: func(n *network) { n.noMomentum = true }},
	{name: "a stale chunk accepted", shape: breaking, reduce: allreduce.AcceptStale},
	{name: "a tree over trainers", want: "is not the quiet run's", reduce: allreduce.SumOverTrainers},
	{name: "other labels for a redo", want: "are not those of the first try", labels: func(l *labels) { l.forgetful = true }},
	{name: "a deposed leader that writes", want: "in force", deposed: true},
}

func (m *mutant) changeWork(n *network) {
	if m != nil && m.work != nil {
		m.work(n)
	}
}

func (m *mutant) changeLabels(l *labels) trainer.LabelSource {
	if m != nil && m.labels != nil {
		m.labels(l)
	}
	return l
}

func (m *mutant) unfenced() bool { return m != nil && m.deposed }

// otherBits says that the bits differ for a reason that only the coordinator can find.
func (m *mutant) otherBits() bool { return m != nil && m.labels != nil }

// seed of the labels of iteration k.
func (l *labels) seed(k uint32) uint64 {
	if !l.forgetful {
		return l.p.w.Seed
	}
	again := l.given[k]
	if l.given == nil {
		l.given = map[uint32]bool{}
	}
	l.given[k] = true
	if again {
		return l.p.w.Seed + 1
	}
	return l.p.w.Seed
}

// breaking lets the stream between two trainers break again and again, with much on its way.
func breaking(s *Schedule) {
	s.Delay, s.Iterations = 400*time.Millisecond, 8
	for at := 500 * time.Millisecond; at < 4*time.Second; at += 600 * time.Millisecond {
		s.Events = append(s.Events, Event{At: at, Kind: Break, Who: "t0", Other: "t1"})
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	s.Healed = max(s.Healed, 4*time.Second)
}
