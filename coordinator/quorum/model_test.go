package quorum

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel does random things to a cluster, decides after each, and holds every decision to what must always be so. In the end all faults stop, and
// a generation of everybody must come.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.Shards = rapid.IntRange(1, 8).Draw(t, "shards")
		w.Min = rapid.IntRange(1, min(4, w.Shards)).Draw(t, "min")
		w.Max = rapid.IntRange(w.Min, 8).Draw(t, "max")
		w.Start = rapid.IntRange(w.Min, min(w.Max, w.Shards)).Draw(t, "start")
		w.NeedTeacher = rapid.Bool().Draw(t, "teacher")
		m := &model{world: w}
		t.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"join":     m.join,
			"breaks":   m.trainerDo("breaks"),
			"ends":     m.trainerDo("lease-ends"),
			"lose":     m.trainerDo("lose"),
			"back":     m.trainerDo("back"),
			"complain": m.complain,
			"silent": func(t *rapid.T) {
				m.do("silent %s %v", m.anyone(t), rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second}).Draw(t, "for"))
			},
			"level": func(t *rapid.T) {
				m.do("level %s %d", m.anyone(t), int(m.Iteration)-rapid.IntRange(0, min(2, int(m.Iteration))).Draw(t, "behind"))
			},
			"leave": func(t *rapid.T) { m.do("leave %s SIGTERM", m.anyone(t)) },
			"fails": func(t *rapid.T) { m.do("fails %s its disk is full", m.anyone(t)) },
			"age": func(t *rapid.T) {
				m.age(rapid.SampledFrom([]time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 31 * time.Second}).Draw(t, "for"))
			},
			"applied":    m.applied,
			"checkpoint": func(*rapid.T) { m.After = m.Iteration },
			"teacher": func(*rapid.T) {
				if len(m.Teachers) > 0 {
					m.do("teacher-leaves l")
				} else {
					m.do("teacher l host:1")
				}
			},
			"lead": func(t *rapid.T) {
				if m.Generation == nil {
					t.Skip("nothing is in force")
				}
				m.do("lead")
			},
			"stop": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "seldom") > 0 {
					t.Skip("not yet")
				}
				m.do("stop Ctrl-C")
			},
			"word": func(t *rapid.T) {
				id := m.anyone(t)
				if m.ending() && m.seat(id) != nil {
					m.do("stopped %s %d aa", id, m.Iteration)
				}
			},
		})
		m.settles(t)
	})
}

type model struct {
	*world
	processes int
}

func (m *model) do(format string, args ...any) {
	if err := m.command(strings.Fields(fmt.Sprintf(format, args...))); err != nil {
		panic(err)
	}
}

// anyone of those who are known.
func (m *model) anyone(t *rapid.T) string {
	if len(m.Trainers) == 0 {
		t.Skip("nobody is there")
	}
	return rapid.SampledFrom(m.Trainers).Draw(t, "who").ID
}

func (m *model) trainerDo(what string) func(*rapid.T) {
	return func(t *rapid.T) { m.do("%s %s", what, m.anyone(t)) }
}

// join brings a process, now and then under an id that another had, or one that does not fit.
func (m *model) join(t *rapid.T) {
	m.processes++
	fit := rapid.SampledFrom([]string{"", "", "", "", "version=v2", "train=0ddd"}).Draw(t, "but")
	m.do("%s %s host:%d %s", rapid.SampledFrom([]string{"join", "join", "lease"}).Draw(t, "how"), rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}).Draw(t, "id"), m.processes, fit)
}

func (m *model) complain(t *rapid.T) {
	if m.Generation == nil {
		t.Skip("nobody trains")
	}
	from := rapid.SampledFrom(m.Generation.Seats).Draw(t, "from").ID
	to := rapid.SampledFrom(m.Generation.Seats).Draw(t, "to").ID
	if from == to {
		to = "-"
	}
	m.do("complain %s %s silent", from, to)
	if rapid.Bool().Draw(t, "ripe") {
		m.age(500 * time.Millisecond)
	}
}

func (m *model) applied(t *rapid.T) {
	if m.Generation == nil || m.ending() {
		t.Skip("nobody trains")
	}
	m.do("applied %d", m.Iteration+1)
}

// check decides, and holds the decision to what must always be so.
func (m *model) check(t *rapid.T) {
	if m.last.Over {
		return
	}
	before := m.State
	before.Words = map[string]Word{}
	for id, word := range m.Words {
		before.Words[id] = word
	}
	shuffled := before
	shuffled.Trainers = rapid.Permutation(before.Trainers).Draw(t, "trainers")
	d := m.decide()
	if other := Decide(shuffled); !reflect.DeepEqual(d, other) {
		t.Fatalf("the order in which trainers are listed matters:\n%s\n%s", show(d), show(other))
	}
	if d.Reason == "" {
		t.Fatalf("no reason:\n%s", show(d))
	}
	if d.Over != slices.Contains([]Phase{Finished, Stopped, Failed}, d.Phase) && d.Phase != Failed {
		t.Fatalf("over, or not:\n%s", show(d))
	}
	for _, r := range d.Dismissed {
		if m.is(r.ID).Leaving == "" {
			t.Fatalf("%s did not ask to go:\n%s", r.ID, show(d))
		}
	}
	if d.Generation != nil {
		checkGeneration(t, before, d)
	}
	if d.Over {
		return
	}
	again := Decide(m.State)
	if again.Generation != nil {
		t.Fatalf("a decision that is carried out leaves another:\n%s\n%s", show(d), show(again))
	}
	if again.Phase == Training || again.Phase == Stopping {
		m.checkForce(t, again)
	}
}

// checkForce holds the generation in force to being able to train, as far as can be known.
func (m *model) checkForce(t *rapid.T, d Decision) {
	grace := m.Leading < m.Grace
	for _, seat := range m.Generation.Seats {
		trainer := m.trainer(seat.Member)
		_, spoke := m.Words[seat.ID]
		if spoke || grace {
			continue
		}
		if trainer == nil || !trainer.Lease || trainer.Silent >= m.Silence {
			t.Fatalf("%s is lost and in force:\n%s%+v", seat.ID, show(d), trainer)
		}
	}
	all := func(id string) bool { t := m.trainer(m.seat(id).Member); return t != nil && t.Connected }
	for _, c := range m.Complaints {
		if c.Generation != m.Last || c.Ago < m.Silence/4 || m.seat(c.From) == nil || !all(c.From) || c.To != "" && !all(c.To) {
			continue
		}
		if _, spoke := m.Words[c.From]; !spoke {
			t.Fatalf("%s said that it cannot go on:\n%s", c.From, show(d))
		}
	}
}

// checkGeneration holds a new generation to the state that it was made of.
func checkGeneration(t *rapid.T, s State, d Decision) {
	g, old := d.Generation, s.Generation
	least := s.Min
	switch {
	case old == nil:
		least = s.Start
	case s.StopAsked || s.Iteration >= s.Iterations:
		least = 1
	}
	if n := len(g.Seats); n < least || n > s.Max || n > s.Shards {
		t.Fatalf("%d seats, not from %d to %d", n, least, min(s.Max, s.Shards))
	}
	if g.Number != s.Last+1 {
		t.Fatalf("number %d follows %d", g.Number, s.Last)
	}
	end := 0
	for rank, seat := range g.Seats {
		if seat.First != end || seat.End <= seat.First {
			t.Fatalf("rank %d owns [%d,%d) after %d", rank, seat.First, seat.End, end)
		}
		end = seat.End
		checkSeat(t, s, seat)
		for _, other := range g.Seats[:rank] {
			if other.ID == seat.ID {
				t.Fatalf("%s has two seats", seat.ID)
			}
			if cannotReach(s, other.ID, seat.ID) {
				t.Fatalf("%s and %s cannot reach each other:\n%s", other.ID, seat.ID, show(d))
			}
		}
	}
	if end != s.Shards {
		t.Fatalf("%d of %d shards are owned", end, s.Shards)
	}
	if old == nil {
		return
	}
	reason := slices.ContainsFunc(s.Complaints, func(c Complaint) bool { return c.Generation == old.Number })
	var ranks []int
	for rank, seat := range old.Seats {
		now := slices.IndexFunc(g.Seats, func(n Seat) bool { return n.same(seat.Member) })
		if now >= 0 {
			ranks = append(ranks, now)
			continue
		}
		reason = true
		if trainer := s.trainer(seat.Member); g.Planned && trainer.Leaving == "" {
			t.Fatalf("planned, and rank %d has no place any more:\n%s", rank, show(d))
		}
	}
	if !slices.IsSorted(ranks) || len(ranks) > 0 && ranks[len(ranks)-1] != len(ranks)-1 {
		t.Fatalf("old trainers have ranks %v", ranks)
	}
	if !reason && !g.Planned {
		t.Fatalf("nothing happened:\n%s", show(d))
	}
}

// checkSeat holds one trainer of a new generation to what it must be.
func checkSeat(t *rapid.T, s State, seat Seat) {
	trainer := s.trainer(seat.Member)
	was := s.seated(seat.Member)
	benefit := was && s.Leading < s.Grace
	switch {
	case trainer == nil:
		t.Fatalf("%s is not there", seat.ID)
	case seat.Version != s.Version || seat.TrainSHA256 != "" && seat.TrainSHA256 != s.TrainSHA256:
		t.Fatalf("%s does not fit", seat.ID)
	case s.gaveUp(seat.Member) != nil:
		t.Fatalf("%s gave up", seat.ID)
	case !was && trainer.Leaving != "":
		t.Fatalf("%s leaves", seat.ID)
	case !trainer.Lease && !benefit, trainer.Silent >= s.Silence && !benefit, !trainer.Connected && !was:
		t.Fatalf("%s is lost: %+v", seat.ID, *trainer)
	}
}

// cannotReach says that two trainers that live missed each other in two generations running.
func cannotReach(s State, a, b string) bool {
	missed := func(gen func(Complaint) bool) bool {
		return slices.ContainsFunc(s.Complaints, func(c Complaint) bool {
			return (c.From == a && c.To == b || c.From == b && c.To == a) && gen(c)
		})
	}
	for _, c := range s.Complaints {
		if c.Generation == s.Last && c.Ago < s.Silence/4 || c.Ago >= s.Benched {
			continue
		}
		if missed(func(o Complaint) bool { return o == c }) && missed(func(o Complaint) bool { return o.Generation+1 == c.Generation }) {
			return true
		}
	}
	return false
}

// settles stops all faults and brings as many trainers as there must be: before long they train together, and nothing changes any more.
func (m *model) settles(t *rapid.T) {
	if m.last.Over || m.Doomed != nil || m.ending() {
		return
	}
	m.do("teacher z host:1")
	ids := 0
	for _, trainer := range m.sorted() {
		if trainer.Leaving != "" || m.gaveUp(trainer.Member) != nil || m.misfit(trainer.Member, m.Arithmetic) != "" {
			m.do("lose %s", trainer.ID)
			continue
		}
		ids++
	}
	for ; ids < m.Start; ids++ {
		m.processes++
		m.do("join z%d host:%d", ids, m.processes)
	}
	for range 40 { // seconds
		for _, trainer := range m.sorted() {
			if trainer.Leaving != "" || m.gaveUp(trainer.Member) != nil || m.misfit(trainer.Member, m.Arithmetic) != "" {
				continue
			}
			m.do("back %s", trainer.ID)
			m.do("level %s %d", trainer.ID, m.Iteration)
		}
		m.age(time.Second)
		m.check(t)
	}
	if m.last.Phase != Training || len(m.Generation.Seats) != min(ids, m.room(0)) {
		t.Fatalf("%d trainers are well, and of them\n%s%+v", ids, show(m.last), m.Generation)
	}
}
