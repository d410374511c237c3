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
		m := &model{world: w, cut: map[[2]string]bool{}}
		for i := range rapid.IntRange(0, 8).Draw(t, "trainers") {
			m.do("join %c host:0", 'a'+i)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"join":     m.join,
			"breaks":   m.trainerDo("breaks"),
			"ends":     m.trainerDo("lease-ends"),
			"lose":     m.trainerDo("lose"),
			"back":     m.trainerDo("back"),
			"complain": m.complain,
			"cuts": func(t *rapid.T) {
				if a, b := m.anyone(t), m.anyone(t); a != b {
					m.cut[[2]string{a, b}] = true
				}
			},
			"heals":   func(*rapid.T) { clear(m.cut) },
			"notices": m.notices,
			"noticed": m.notices, // often
			"silent": func(t *rapid.T) {
				m.do("silent %s %v", m.anyone(t), rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second}).Draw(t, "for"))
			},
			"levels": func(t *rapid.T) {
				for _, trainer := range m.Trainers {
					m.do("level %s %d", trainer.ID, m.Iteration)
				}
			},
			"level": func(t *rapid.T) {
				m.do("level %s %d", m.anyone(t), int(m.Iteration)-rapid.IntRange(0, min(2, int(m.Iteration))).Draw(t, "behind"))
			},
			"leave": func(t *rapid.T) {
				seldom(t)
				m.do("leave %s SIGTERM", m.anyone(t))
			},
			"fails": func(t *rapid.T) {
				seldom(t)
				m.do("fails %s its disk is full", m.anyone(t))
			},
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
				seldom(t)
				seldom(t)
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
	cut       map[[2]string]bool // trainers that cannot reach each other
}

// seldom skips what would happen too often.
func seldom(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "seldom") > 0 {
		t.Skip("not now")
	}
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

// notices lets all trainers of the generation find out whom they cannot reach.
func (m *model) notices(t *rapid.T) {
	if m.Generation == nil {
		t.Skip("nobody trains")
	}
	for _, a := range m.Generation.Seats {
		for _, b := range m.Generation.Seats {
			if m.cut[[2]string{a.ID, b.ID}] {
				m.do("complain %s %s silent", a.ID, b.ID)
			}
		}
	}
	m.age(500 * time.Millisecond)
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
	clear(m.cut)
	for range 70 { // seconds
		for _, trainer := range m.sorted() {
			if trainer.Leaving != "" || m.gaveUp(trainer.Member) != nil || m.misfit(trainer.Member, m.Arithmetic) != "" {
				continue
			}
			m.do("back %s", trainer.ID)
			if m.last.Phase == Training { // there is somebody to copy from
				m.do("level %s %d", trainer.ID, m.Iteration)
			}
		}
		m.age(time.Second)
		m.check(t)
	}
	if m.last.Phase != Training || len(m.Generation.Seats) != min(ids, m.room(0)) {
		t.Fatalf("%d trainers are well, and of them\n%s%+v", ids, show(m.last), m.Generation)
	}
}
