package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// gather waits for the first generation and makes it.
func gather(v *view) Decision {
	if i := slices.IndexFunc(v.Failures, Failure.ours); i >= 0 {
		return Decision{Phase: Failed, Over: true, Reason: v.Failures[i].Message}
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
		return v.wait(nil, lack)
	}
	var members []Member
	for _, t := range v.there[:min(len(v.there), v.room(0))] {
		members = append(members, t.Member)
	}
	return v.enforce(v.generation(members, nil))
}

// wait says how it came to this, what is missing, and who is there and no help; it gives up in time.
func (v *view) wait(why, lack []string) Decision {
	missing := "waiting for " + strings.Join(lack, " and ")
	for _, r := range v.refused {
		missing += "; refused: " + r.Reason
	}
	for _, a := range v.absent {
		missing += "; " + a
	}
	if v.WaitTimeout == 0 || v.Waited < v.WaitTimeout {
		return Decision{Phase: Waiting, Reason: sentence(why, missing)}
	}
	return v.fail(sentence(why, fmt.Sprintf("gave up after %v of %s", v.WaitTimeout, missing), "start what is missing and try again"), true)
}

// generation gives the shards to trainers in rank order. Its reason ends in who owns how much.
func (v *view) generation(members []Member, why []string) *Generation {
	g := &Generation{Number: v.Last + 1, After: v.resumes(members)}
	for rank, r := range Ranges(v.Shards, len(members)) {
		g.Seats = append(g.Seats, Seat{members[rank], r})
	}
	verb := "own"
	if len(members) == 1 {
		verb = "owns"
	}
	g.Reason = sentence(why, fmt.Sprintf("%s %s %s", count(len(members), "trainer"), verb, count(v.Shards, "shard")))
	return g
}

// enforce is the decision that puts a generation in force.
func (v *view) enforce(g *Generation) Decision {
	d := Decision{Phase: Training, Reason: g.Reason, Generation: g}
	if v.StopAsked {
		d.Phase, d.Stop = Stopping, true
	}
	return d
}

// resumes is the iteration that is known to be applied where members go on. One that was in the generation is enough to know: what it lacks is done
// again. Else the newest state among them counts, or the newest checkpoint.
func (v *view) resumes(members []Member) uint32 {
	at, found := v.After, false
	for _, m := range members {
		t := v.trainer(m)
		switch {
		case v.seated(m):
			return v.Iteration
		case t != nil && t.HasState && (!found || t.Iteration > at):
			at, found = t.Iteration, true
		}
	}
	return at
}
