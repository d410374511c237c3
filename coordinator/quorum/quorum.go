// Package quorum decides who trains which shards now, and why. It is a pure function of what is known: no clock, no network, no etcd.
package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// Decide is the next step. A decision that is carried out leaves nothing to decide: the same state with the generation in force gives none again.
func Decide(s State) Decision {
	if why := s.impossible(); why != "" {
		return Decision{Phase: Failed, Over: true, Reason: why}
	}
	v := sight(s)
	var d Decision
	if v.Generation == nil {
		d = gather(v)
	} else {
		d = follow(v)
	}
	if !d.Over && d.Phase != Failed {
		d = v.notes(v.teacher(v.dismiss(d)))
	}
	d.Refused = v.refused
	return d
}

// impossible says why no generation could ever be made as asked; empty: one can.
func (s State) impossible() string {
	switch {
	case s.Start < 1 || s.Start > s.Shards:
		return fmt.Sprintf("%s for %s: a run takes at least one, and at most one a shard; choose --trainers from 1 to %d",
			count(s.Start, "trainer"), count(s.Shards, "shard"), s.Shards)
	case s.Min < 1 || s.Min > s.Start || s.Start > s.Max:
		return fmt.Sprintf("at least %d, at first %d and at most %d trainers: choose --trainers MIN:MAX with 1 <= MIN <= MAX", s.Min, s.Start, s.Max)
	}
	return ""
}

// sentence strings together what led to a decision, and the decision.
func sentence(why []string, what ...string) string {
	return strings.Join(append(slices.Clip(why), what...), "; ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func count(n int, noun string) string { return fmt.Sprintf("%d %s", n, plural(n, noun)) }
