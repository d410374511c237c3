package quorum

import (
	"fmt"
	"slices"
	"time"
)

// lose finds the seats that are lost, and how that is known. While this coordinator is new, a trainer that has not called yet had no time to.
func (v *view) lose() {
	for _, seat := range v.Generation.Seats {
		if how := v.howLost(seat); how != "" {
			v.lost[seat.ID] = how
		}
	}
}

func (v *view) howLost(seat Seat) string {
	if why := v.misfit(seat.Member, v.Arithmetic); why != "" {
		return why
	}
	if f := v.gaveUp(seat.Member); f != nil {
		return "it gave up: " + f.Message
	}
	t := v.trainer(seat.Member)
	if t == nil {
		if i := slices.IndexFunc(v.Trainers, func(t Trainer) bool { return t.ID == seat.ID }); i >= 0 {
			return fmt.Sprintf("%v has its place in etcd", v.Trainers[i].Member)
		}
		t = &Trainer{Member: seat.Member}
	}
	missed := slices.ContainsFunc(v.Complaints, func(c Complaint) bool { return c.Generation == v.Generation.Number && (c.To == seat.ID || c.To == "") })
	grace := v.Leading < v.Grace
	switch {
	case !t.Lease && (!grace || missed):
		return "its etcd lease ended"
	case grace:
		return ""
	case !t.Connected && missed:
		return "its connections broke"
	case !t.Connected && (v.silent(*t) || t.Silent >= v.Silence/4 && v.hears()):
		return fmt.Sprintf("its connection to the coordinator broke, and it has not called again for %v", t.Silent.Round(time.Millisecond))
	case v.silent(*t):
		return fmt.Sprintf("it has been silent for %v", v.Silence)
	}
	return ""
}

// hears says that some trainer is heard, so that it is not this coordinator who is cut off.
func (v *view) hears() bool {
	return slices.ContainsFunc(v.Trainers, func(t Trainer) bool { return t.Connected && !v.silent(t) })
}

// spoke says whether the trainer in a seat has had its last word.
func (v *view) spoke(id string) bool {
	w, ok := v.Words[id]
	return ok && w.Generation == v.Generation.Number
}

// complaints are those of the generation in force, of seats that live and cannot go on: one for a pair, first come first.
func (v *view) complaints() []Complaint {
	var out []Complaint
	for _, c := range v.Complaints {
		if c.Generation != v.Generation.Number || v.seat(c.From) == nil || v.lost[c.From] != "" {
			continue
		}
		if !slices.ContainsFunc(out, func(o Complaint) bool { return o.pair() == c.pair() }) {
			out = append(out, c)
		}
	}
	return out
}

// pair is whom a complaint is about, whoever made it.
func (c Complaint) pair() [2]string { return [2]string{min(c.From, c.To), max(c.From, c.To)} }

// broken says why the generation in force cannot go on, in sentences; none: it can, as far as is known.
func (v *view) broken() []string {
	complaints := v.complaints()
	var why []string
	for _, seat := range v.Generation.Seats {
		missed := slices.ContainsFunc(complaints, func(c Complaint) bool { return c.To == seat.ID })
		how := v.lost[seat.ID]
		if how == "" || v.spoke(seat.ID) && !missed {
			continue
		}
		if t := v.trainer(seat.Member); t != nil && t.Leaving != "" {
			why = append(why, fmt.Sprintf("trainer %v left: %s", seat.Member, t.Leaving))
			continue
		}
		why = append(why, fmt.Sprintf("trainer %v was lost at iteration %d: %s", seat.Member, v.Iteration, how))
	}
	const most = 3
	if n := len(why) - most; n > 0 {
		why = append(why[:most], fmt.Sprintf("so %s %d more", was(n), n))
	}
	complaints = slices.DeleteFunc(complaints, func(c Complaint) bool { return v.lost[c.To] != "" || !v.ripe(c) })
	if len(why)+len(complaints) == 0 {
		return nil
	}
	for _, seat := range v.Generation.Seats {
		if v.out(seat.ID) {
			why = append(why, v.keptOut(seat.ID))
		}
	}
	for _, c := range complaints {
		if !v.out(c.From) && !v.out(c.To) {
			why = append(why, v.words(c))
		}
	}
	return why
}

// ripe says that no loss is behind a complaint: all who are not lost have called, and there was time to learn otherwise (a death may reach a peer
// before it reaches the coordinator).
func (v *view) ripe(c Complaint) bool {
	return c.Ago >= v.Silence/4 && !slices.ContainsFunc(v.Generation.Seats, func(seat Seat) bool {
		t := v.trainer(seat.Member)
		return v.lost[seat.ID] == "" && (t == nil || !t.Connected)
	})
}

// words of a complaint.
func (v *view) words(c Complaint) string {
	peer := v.seat(c.To)
	if peer == nil {
		return fmt.Sprintf("trainer %v could not go on: %s", v.seat(c.From).Member, c.Reason)
	}
	return fmt.Sprintf("trainer %v misses trainer %v: %s", v.seat(c.From).Member, peer.Member, c.Reason)
}
