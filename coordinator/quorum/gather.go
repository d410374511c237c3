package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// gather waits for the first generation and makes it.
func gather(v *view) Decision {
	if i := slices.IndexFunc(v.Failures, Failure.ours); i >= 0 {
		return Decision{Phase: Failed, Over: true, Reason: v.Failures[i].Message, Temporary: !v.Failures[i].Deterministic}
	}
	if v.StopAsked {
		return Decision{Phase: Stopped, Over: true, Reason: "stopped before it began: " + v.StopReason}
	}
	var lack []string
	if n := v.Start - len(v.there); n > 0 {
		lack = append(lack, fmt.Sprintf("%d more %s (%d of %d have joined)", n, plural(n, "trainer"), len(v.there), v.Start))
	}
	if v.NeedTeacher && len(v.teachers) == 0 {
		lack = append(lack, "a teacher-logit service")
	}
	if len(lack) > 0 {
		return v.wait("", lack)
	}
	members := make([]Member, min(len(v.there), v.Max, v.Shards))
	for i := range members {
		members[i] = v.there[i].Member
	}
	g := v.generation(members, nil)
	g.After = v.After
	return Decision{Phase: Training, Reason: g.Reason, Generation: g}
}

// wait says what is missing, and who is there and does not help; why is how it came to that.
func (v *view) wait(why string, lack []string) Decision {
	missing := "waiting for " + strings.Join(lack, " and ")
	for _, r := range v.refused {
		missing += "; refused: " + r.Reason
	}
	for _, a := range v.absent {
		missing += "; " + a
	}
	return Decision{Phase: Waiting, Reason: why + missing}
}

// generation gives the shards to trainers in rank order. Its reason ends in who owns how much.
func (v *view) generation(members []Member, why []string) *Generation {
	g := &Generation{Number: v.Last + 1, After: v.Iteration}
	for rank, r := range Ranges(v.Shards, len(members)) {
		g.Seats = append(g.Seats, Seat{members[rank], r})
	}
	verb := "own"
	if len(members) == 1 {
		verb = "owns"
	}
	owns := fmt.Sprintf("%s %s %s", count(len(members), "trainer"), verb, count(v.Shards, "shard"))
	g.Reason = strings.Join(append(slices.Clip(why), owns), "; ")
	return g
}
