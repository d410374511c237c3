package quorum

import (
	"fmt"
	"maps"
	"slices"
)

// notes adds to a decision what there is to know beside it.
func (v *view) notes(d Decision) Decision {
	if d.Over || d.Phase == Failed {
		return d
	}
	g := d.Generation
	if g == nil {
		g = v.Generation
	}
	for _, id := range slices.Sorted(maps.Keys(v.benched)) {
		if !slices.ContainsFunc(g.Seats, func(seat Seat) bool { return seat.ID == id }) {
			d.Notes = append(d.Notes, v.keptOut(id))
		}
	}
	if g == nil || d.Phase == Waiting {
		return d
	}
	d.Notes = append(d.Notes, v.outside(g)...)
	if d.Generation != nil { // what follows is about the one in force
		return d
	}
	for _, c := range v.complaints() {
		d.Notes = append(d.Notes, v.words(c))
	}
	return v.stragglers(d)
}

// outside says why trainers that could take part are not in g.
func (v *view) outside(g *Generation) []string {
	var out []string
	for _, t := range v.there {
		if v.out(t.ID) || t.Leaving != "" || slices.ContainsFunc(g.Seats, func(seat Seat) bool { return seat.same(t.Member) }) {
			continue
		}
		var what string
		switch {
		case len(g.Seats) >= v.Shards:
			what = fmt.Sprintf("stands by: all %s have a trainer of their own", count(v.Shards, "shard"))
		case len(g.Seats) >= v.Max:
			what = fmt.Sprintf("stands by: --trainers allows at most %d", v.Max)
		case v.ending():
			what = "stands by: the run is about to end"
		case v.level(t):
			what = "has caught up and is taken in when all trainers are well"
		case t.HasState:
			what = fmt.Sprintf("catches up: it is at iteration %d of %d", t.Iteration, v.Iteration)
		default:
			what = "catches up: it has no state yet"
		}
		out = append(out, fmt.Sprintf("trainer %v %s", t.Member, what))
	}
	return out
}

// stragglers are trainers of whose shards every one takes much longer than is usual.
func (v *view) stragglers(d Decision) Decision {
	if len(v.Seconds) != v.Shards {
		return d
	}
	median := slices.Sorted(slices.Values(v.Seconds))[(v.Shards-1)/2]
	for _, seat := range v.Generation.Seats {
		slow, sum := true, 0.0
		for _, s := range v.Seconds[seat.First:seat.End] {
			slow = slow && s > 1.5*median && s > median+0.020
			sum += s
		}
		if slow {
			mean := sum / float64(seat.End-seat.First)
			d.Notes = append(d.Notes, fmt.Sprintf("trainer %v is a straggler: its shards take %.0f ms, the median is %.0f ms", seat.Member, 1000*mean, 1000*median))
		}
	}
	return d
}

// teacher notes that labels are needed and nobody gives any; trainers wait for them, and after a while nobody waits for the trainers.
func (v *view) teacher(d Decision) Decision {
	if !v.NeedTeacher || len(v.teachers) > 0 || v.ending() || v.Generation == nil {
		return d
	}
	d.TeacherAway = true
	d.Notes = append(d.Notes, "no teacher-logit service is there: trainers wait for labels")
	if v.WaitTimeout > 0 && v.TeacherAway >= v.WaitTimeout {
		return v.fail(fmt.Sprintf("gave up after %v of waiting for a teacher-logit service; start one and try again", v.WaitTimeout), true)
	}
	return d
}
