package quorum

import (
	"slices"

	"pgregory.net/rapid"
)

// What must be so of every decision, said in other words than those in which it is made.

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
	if len(m.Words) == len(m.Generation.Seats) {
		t.Fatalf("all have spoken:\n%s", show(d))
	}
	lost := sight(m.State).lost
	called := func(id string) bool { t := m.trainer(m.seat(id).Member); return t != nil && t.Connected }
	all := !slices.ContainsFunc(m.Generation.Seats, func(seat Seat) bool { return lost[seat.ID] == "" && !called(seat.ID) })
	for _, c := range m.Complaints {
		if c.Generation != m.Last || m.seat(c.From) == nil || !called(c.From) {
			continue
		}
		switch {
		case c.To == "" || called(c.To):
			if c.Ago >= m.Silence/4 && all {
				t.Fatalf("%s said that it cannot go on:\n%s", c.From, show(d))
			}
		case !grace:
			t.Fatalf("%s is missed by all, and in force:\n%s", c.To, show(d))
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
		if why := dropped(s, seat, g); why == "" {
			t.Fatalf("%s lost its place for nothing:\n%s", seat.ID, show(d))
		}
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

// dropped says why a trainer's place could be taken from it; empty: it was not to be.
func dropped(s State, seat Seat, next *Generation) string {
	trainer := s.trainer(seat.Member)
	if trainer == nil || s.gaveUp(seat.Member) != nil || trainer.Leaving != "" {
		return "it is not here any more, or will not be"
	}
	missed := slices.ContainsFunc(s.Complaints, func(c Complaint) bool { return c.Generation == s.Last && (c.To == seat.ID || c.To == "") })
	heard := slices.ContainsFunc(s.Trainers, func(t Trainer) bool { return t.Connected && t.Silent < s.Silence })
	switch grace := s.Leading < s.Grace; {
	case !trainer.Lease && (!grace || missed):
		return "its lease ended"
	case !grace && trainer.Silent >= s.Silence:
		return "it is silent"
	case !grace && !trainer.Connected && (missed || heard && trainer.Silent >= s.Silence/4):
		return "its streams broke"
	}
	for _, other := range next.Seats {
		if cannotReach(s, seat.ID, other.ID) {
			return "it cannot reach another"
		}
	}
	return ""
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
		if c.Ago >= s.Benched {
			continue
		}
		if missed(func(o Complaint) bool { return o == c }) && missed(func(o Complaint) bool { return o.Generation+1 == c.Generation }) {
			return true
		}
	}
	return false
}
