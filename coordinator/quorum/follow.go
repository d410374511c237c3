package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// follow watches over a generation until everybody in it has said a last word, or is gone.
func follow(s State) Decision {
	var silent []string
	for _, t := range s.Generation.Seats {
		if !s.spoke(t.ID) && s.left(t.Member) == "" {
			silent = append(silent, t.ID)
		}
	}
	if why, temporary := cause(s); why != "" {
		d := Decision{Phase: Failed, Reason: why, Temporary: temporary, Stop: true, Over: len(silent) == 0}
		if !d.Over && s.Patience > 0 && s.Ordered >= s.Patience {
			d.Over = true
			d.Reason += fmt.Sprintf("; %s did not stop within %v", strings.Join(silent, ", "), s.Patience)
		}
		return d
	}
	if len(silent) == 0 {
		return conclude(s)
	}
	if s.StopAsked {
		return Decision{Phase: Stopping, Stop: true, Reason: fmt.Sprintf("%s; waiting for %s to end the iteration in flight", s.StopReason, strings.Join(silent, ", "))}
	}
	return Decision{Phase: Training, Reason: s.Generation.Reason}
}

// spoke says whether a trainer has had its last word, good or bad.
func (s State) spoke(id string) bool {
	_, ok := s.Words[id]
	return ok || slices.ContainsFunc(s.Failures, func(f Failure) bool { return f.ID == id })
}

// left says how it is known that m is gone; empty: it is there.
func (s State) left(m Member) string {
	if how, ok := s.Gone[m.ID]; ok {
		return how
	}
	return missing(m, s.Present)
}

func missing(m Member, present []Member) string {
	if slices.ContainsFunc(present, m.same) {
		return ""
	}
	return "its etcd lease ended"
}

// cause is why the generation cannot go on (empty: it can), and whether it might another time. A process that vanishes is the cause of the
// failures that its peers report, whatever comes in first; a failure that has its cause in the run itself is the cause of all that follows.
func cause(s State) (why string, temporary bool) {
	var failures []Failure
	for _, f := range s.Failures {
		if f.ours() || s.seat(f.ID) != nil {
			failures = append(failures, f)
		}
	}
	for _, f := range failures {
		if f.Deterministic {
			return f.text(s), false
		}
	}
	if gone := departures(s, len(failures) > 0); len(gone) > 0 {
		const most = 3
		if n := len(gone) - most; n > 0 {
			gone = append(gone[:most], fmt.Sprintf("%d more left", n))
		}
		return strings.Join(gone, "; "), true
	}
	if len(failures) > 0 {
		return failures[0].text(s), true
	}
	if s.Doomed != nil { // survivors that stop as they were told to do not mend it
		return s.Doomed.Reason, s.Doomed.Temporary
	}
	return "", false
}

func departures(s State, failed bool) []string {
	var gone []string
	all := true // trainers have spoken
	for _, t := range s.Generation.Seats {
		if s.spoke(t.ID) {
			continue
		}
		all = false
		if how := s.left(t.Member); how != "" {
			gone = append(gone, fmt.Sprintf("trainer %v left generation %d at iteration %d: %s", t.Member, s.Generation.Number, s.Iteration, how))
		}
	}
	// Nobody asks a teacher after the last iteration's labels, and the iteration in flight of a run that was told to stop may have its own already.
	unasked := s.Iteration >= s.Iterations || (all || s.StopAsked) && !failed
	if !s.NeedTeacher || unasked {
		return gone
	}
	lost := make([]string, 0, len(s.Generation.Teachers))
	for _, m := range s.Generation.Teachers {
		if how := missing(m, s.Teachers); how != "" {
			lost = append(lost, fmt.Sprintf("teacher-logit service %v left generation %d at iteration %d: %s", m, s.Generation.Number, s.Iteration, how))
		}
	}
	if len(lost) == len(s.Generation.Teachers) { // else another answers
		gone = append(gone, lost...)
	}
	return gone
}

func (f Failure) ours() bool { return f.ID == "" }

func (f Failure) text(s State) string {
	if f.ours() {
		return f.Message
	}
	return fmt.Sprintf("trainer %v: %s", s.seat(f.ID).Member, f.Message)
}

// seat is a trainer's place in the generation; nil: it has none.
func (s State) seat(id string) *Seat {
	for i := range s.Generation.Seats {
		if s.Generation.Seats[i].ID == id {
			return &s.Generation.Seats[i]
		}
	}
	return nil
}

// conclude holds the last words of all trainers against each other.
func conclude(s State) Decision {
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
