package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// follow watches over a generation until everybody in it has said a last word.
func follow(v *view) Decision {
	if why, temporary, diverged := v.cause(); why != "" {
		d := v.fail(why, temporary)
		d.Diverged = diverged
		return d
	}
	var silent []string
	for _, seat := range v.Generation.Seats {
		if !v.spoke(seat.ID) {
			silent = append(silent, seat.ID)
		}
	}
	if len(silent) == 0 {
		return conclude(v)
	}
	if why := v.broken(); len(why) > 0 {
		return v.regroup(why)
	}
	if v.StopAsked {
		return Decision{Phase: Stopping, Stop: true, Reason: fmt.Sprintf("%s; waiting for %s to end the iteration in flight", v.StopReason, strings.Join(silent, ", "))}
	}
	return v.change()
}

func (f Failure) ours() bool { return f.ID == "" }

// cause is why the run cannot go on, whoever trains (empty: it can), whether it might another time, and whether its loss became no number.
func (v *view) cause() (why string, temporary, diverged bool) {
	for _, f := range v.Failures {
		switch {
		case f.ours():
			return f.Message, !f.Deterministic, false
		case f.Deterministic && v.seated(f.Member):
			return fmt.Sprintf("trainer %v: %s", f.Member, f.Message), false, f.Diverged
		}
	}
	if v.Doomed != nil { // trainers that stop as they were told to do not mend it
		return v.Doomed.Reason, v.Doomed.Temporary, v.Doomed.Diverged
	}
	return "", false, false
}

// fail ends the run once every trainer that lives has ended the iteration in flight, or has had the time to.
func (v *view) fail(why string, temporary bool) Decision {
	var silent []string
	if v.Generation != nil {
		for _, seat := range v.Generation.Seats {
			if !v.spoke(seat.ID) && v.lost[seat.ID] == "" {
				silent = append(silent, seat.ID)
			}
		}
	}
	d := Decision{Phase: Failed, Reason: why, Temporary: temporary, Stop: v.Generation != nil, Over: len(silent) == 0 || slices.ContainsFunc(v.Failures, func(f Failure) bool { return f.Unwritable })}
	if !d.Over && v.Patience > 0 && v.Ordered >= v.Patience {
		d.Over = true
		d.Reason += fmt.Sprintf("; %s did not stop within %v", strings.Join(silent, ", "), v.Patience)
	}
	return d
}

// conclude holds the last words of all trainers against each other.
func conclude(s *view) Decision {
	seats := s.Generation.Seats
	head := s.Words[seats[0].ID]
	stopped := head.Stopped
	for _, t := range seats[1:] {
		w := s.Words[t.ID]
		stopped = stopped || w.Stopped
		if w.Iteration != head.Iteration || w.Parameters != head.Parameters {
			return Decision{Phase: Failed, Over: true, Reason: fmt.Sprintf(
				"the trainers ended with different parameters: %s has sha256:%s after iteration %d, %s has sha256:%s after iteration %d; this is a defect of dither or of a machine: do not use either, and report it",
				seats[0].Member, head.Parameters, head.Iteration, t.Member, w.Parameters, w.Iteration)}
		}
	}
	switch {
	case !stopped && head.Iteration < s.Iterations:
		return Decision{Phase: Failed, Over: true, Reason: fmt.Sprintf("the trainers said that they were through after iteration %d of %d; this is a defect of dither: report it", head.Iteration, s.Iterations)}
	case !stopped:
		return Decision{Phase: Finished, Over: true, Reason: fmt.Sprintf("all %s are done, and every trainer has the same parameters", count(int(s.Iterations), "iteration"))}
	case s.StopAsked:
		return Decision{Phase: Stopped, Over: true, Reason: fmt.Sprintf("stopped after iteration %d of %d: %s", head.Iteration, s.Iterations, s.StopReason)}
	}
	reason := fmt.Sprintf("stopped after iteration %d of %d", head.Iteration, s.Iterations)
	if s.StopAfter > 0 && head.Iteration >= s.StopAfter {
		reason += fmt.Sprintf(", as --stop-after %d asks", s.StopAfter)
	}
	return Decision{Phase: Stopped, Over: true, Reason: reason}
}
