package quorum

import (
	"fmt"
	"slices"
)

// room is for how many more trainers there is, beside n.
func (s State) room(n int) int { return max(0, min(s.Max, s.Shards)-n) }

// level says that a trainer can train at once: it has the run's state, or that of one iteration before, which its peers have as well.
func (s State) level(t Trainer) bool { return t.HasState && t.Iteration+1 >= s.Iteration }

// ending says that no iteration is to be begun any more.
func (s State) ending() bool { return s.StopAsked || s.Iteration >= s.last() }

// last is the iteration with which this execution ends.
func (s State) last() uint32 {
	if s.StopAfter > 0 {
		return min(s.StopAfter, s.Iterations)
	}
	return s.Iterations
}

// need is how many trainers the next generation must have at least. To say how the run ended, one is enough.
func (s State) need() int {
	if s.ending() {
		return 1
	}
	return s.Min
}

// outsiders are trainers that could be in the next generation and are not in this one, by id. At the end nobody is taken in who need not be.
func (v *view) outsiders() (level, behind []Trainer) {
	for _, t := range v.there {
		switch {
		case v.seated(t.Member) || v.out(t.ID):
		case v.level(t) && !v.ending():
			level = append(level, t)
		default:
			behind = append(behind, t)
		}
	}
	return level, behind
}

// remaining are the seats that go on, in the order of their ranks, and which of them asked to go.
func (v *view) remaining() (stay, going, all []Member) {
	for _, seat := range v.Generation.Seats {
		if v.lost[seat.ID] != "" || v.out(seat.ID) {
			continue
		}
		all = append(all, seat.Member)
		if t := v.trainer(seat.Member); t != nil && t.Leaving != "" {
			going = append(going, seat.Member)
		} else {
			stay = append(stay, seat.Member)
		}
	}
	return stay, going, all
}

// next are the members of the next generation in rank order: old ones first, so that few ranges change much, then those who join. Who asked to go is
// in it only if there are too few without. Where the generation is broken nobody trains, and so nobody waits for one that must copy its state first.
func (v *view) next(broken bool) []Member {
	stay, _, all := v.remaining()
	level, behind := v.outsiders()
	if members := v.with(stay, level); len(members) >= v.need() {
		return members
	}
	if members := v.with(all, level); len(members) >= v.need() || !broken || v.StopAsked {
		return members
	}
	return v.with(all, slices.Concat(level, behind))
}

// with adds trainers as far as there is room.
func (v *view) with(old []Member, more []Trainer) []Member {
	var joined []Member
	for _, t := range more[:min(len(more), v.room(len(old)))] {
		joined = append(joined, t.Member)
	}
	slices.SortFunc(joined, byID)
	return slices.Concat(old, joined)
}

// settled goes on to the members that there would be if those were in force already: one that leaves may make room, or let in whom it kept out.
func (v *view) settled(members []Member) []Member {
	for range len(v.Trainers) { // at most one more comes in or goes each time
		s := v.State
		s.Last++
		s.Generation = &Generation{Number: s.Last}
		for _, m := range members {
			s.Generation.Seats = append(s.Generation.Seats, Seat{Member: m})
		}
		after := sight(s)
		if !after.calm() {
			return members
		}
		then := after.next(false)
		if slices.Equal(then, members) {
			return members
		}
		members = then
	}
	return members
}

// regroup makes the next generation after this one broke, or waits for those that it needs.
func (v *view) regroup(why []string) Decision {
	members := v.next(true)
	if n := v.need() - len(members); n > 0 {
		if v.StopAsked {
			why = slices.Insert(why, 0, "stopped when no trainer was left: "+v.StopReason)
			return Decision{Phase: Stopped, Over: true, Reason: sentence(why, fmt.Sprintf("resumed, the run goes on after iteration %d of %d", v.After, v.Iterations))}
		}
		return v.wait(why, []string{fmt.Sprintf("%d more %s (%d of at least %d are there)", n, plural(n, "trainer"), len(members), v.need())})
	}
	members = v.settled(members)
	why = append(why, v.changes(members)...)
	if at := v.resumes(members); at < v.Iteration {
		why = append(why, fmt.Sprintf("nobody is left with iteration %d, so they go on after iteration %d", v.Iteration, at))
	}
	if slices.Equal(members, v.members()) {
		why = append(why, "another try together")
	}
	return v.enforce(v.generation(members, why))
}

// change makes a planned generation where somebody joins or leaves and all is well.
func (v *view) change() Decision {
	d := Decision{Phase: Training, Reason: v.Generation.Reason}
	if !v.calm() {
		return d
	}
	members := v.settled(v.next(false))
	if slices.Equal(members, v.members()) {
		return d
	}
	g := v.generation(members, v.changes(members))
	g.Planned = true
	return v.enforce(g)
}

// calm says that the iteration in flight will be ended by all who are in it, as a planned generation asks.
func (v *view) calm() bool {
	if v.ending() || len(v.complaints()) > 0 {
		return false
	}
	return !slices.ContainsFunc(v.Generation.Seats, func(seat Seat) bool {
		t := v.trainer(seat.Member)
		return v.spoke(seat.ID) || v.lost[seat.ID] != "" || t == nil || !t.Connected
	})
}

// changes says who leaves by its own wish and who joins.
func (v *view) changes(members []Member) []string {
	var why []string
	_, going, _ := v.remaining()
	for _, m := range going {
		if !slices.Contains(members, m) {
			why = append(why, fmt.Sprintf("trainer %v leaves: %s", m, v.trainer(m).Leaving))
		}
	}
	for _, m := range members {
		if !v.seated(m) {
			why = append(why, fmt.Sprintf("trainer %v joins", m))
		}
	}
	return why
}

// members of the generation in force, in rank order.
func (v *view) members() []Member {
	out := make([]Member, len(v.Generation.Seats))
	for i, seat := range v.Generation.Seats {
		out[i] = seat.Member
	}
	return out
}
