package quorum

import (
	"fmt"
	"strings"
)

// dismiss lets go who asked to: trainers outside the generation at once, those in it when nobody is there to go on in their stead either. Else they
// stay for as long as they are needed.
func (v *view) dismiss(d Decision) Decision {
	in := func(m Member) bool { return v.seated(m) }
	if g := d.Generation; g != nil {
		next := v.State
		next.Generation = g
		in = next.seated
	}
	reason := "the run has not begun, and can begin without it"
	if n := max(v.Last, number(d.Generation)); n > 0 {
		reason = fmt.Sprintf("generation %d goes on without it", n)
	}
	for _, t := range v.sorted() {
		if t.Leaving != "" && !in(t.Member) {
			d.Dismissed = append(d.Dismissed, Refusal{t.ID, reason})
		}
	}
	if v.Generation == nil || d.Generation != nil || v.ending() || d.Phase == Training && !v.calm() {
		return d
	}
	stay, going, _ := v.remaining()
	if len(going) == 0 || len(stay) >= v.need() {
		return d
	}
	level, behind := v.outsiders()
	names := make([]string, len(going))
	for i, m := range going {
		names[i] = fmt.Sprintf("trainer %v leaves: %s", m, v.trainer(m).Leaving)
	}
	if len(stay)+len(level)+len(behind) >= v.need() {
		d.Notes = append(d.Notes, strings.Join(names, "; ")+"; it goes when a trainer that catches up has taken its place")
		return d
	}
	for _, m := range going {
		d.Dismissed = append(d.Dismissed, Refusal{m.ID, "nobody is there to go on without it: the run waits for others"})
	}
	if d.Phase == Training {
		n := v.need() - len(stay)
		w := v.wait(names, []string{fmt.Sprintf("%d more %s (%d of at least %d stay)", n, plural(n, "trainer"), len(stay), v.need())})
		w.Dismissed = d.Dismissed
		return w
	}
	return d
}

func number(g *Generation) uint64 {
	if g == nil {
		return 0
	}
	return g.Number
}
