package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// view is a state with its processes sorted out.
type view struct {
	State
	there    []Trainer         // trainers that can take part, seated or not, by id
	teachers []Member          // that can take part, by id
	refused  []Refusal         // trainers by id, then teachers by id
	absent   []string          // trainers that are in etcd and cannot take part yet, in words
	lost     map[string]string // seats that are lost, by id, and how it is known
	benched  map[string]string // trainers that are kept out, by id, and a peer that they cannot reach
}

func sight(s State) *view {
	v := &view{State: s, lost: map[string]string{}, benched: map[string]string{}}
	for _, t := range s.sorted() {
		switch why := s.misfit(t.Member, s.Arithmetic); {
		case why != "":
			v.refused = append(v.refused, Refusal{t.ID, fmt.Sprintf("trainer %v: %s", t.Member, why)})
		case !t.Lease || s.gaveUp(t.Member) != nil || t.Leaving != "" && !s.seated(t.Member):
			// It is gone, or on its way.
		case s.seated(t.Member) && (!t.Connected || s.silent(t)):
			// It is lost, or not quite.
		case !t.Connected && t.Silent < s.Silence/4:
			// It is about to call.
		case !t.Connected:
			v.absent = append(v.absent, fmt.Sprintf("trainer %v is in etcd and has not called the coordinator", t.Member))
		case s.silent(t):
			v.absent = append(v.absent, fmt.Sprintf("trainer %v has been silent for %v", t.Member, s.Silence))
		default:
			v.there = append(v.there, t)
		}
	}
	for _, m := range slices.SortedFunc(slices.Values(s.Teachers), byID) {
		if why := s.misfit(m, s.TeacherArithmetic); why != "" {
			v.refused = append(v.refused, Refusal{m.ID, fmt.Sprintf("teacher-logit service %v: %s", m, why)})
			continue
		}
		v.teachers = append(v.teachers, m)
	}
	if s.Generation != nil {
		v.lose()
		v.bench()
	}
	return v
}

func byID(a, b Member) int { return strings.Compare(a.ID, b.ID) }

// sorted are all trainers, by id.
func (s State) sorted() []Trainer {
	return slices.SortedFunc(slices.Values(s.Trainers), func(a, b Trainer) int { return byID(a.Member, b.Member) })
}

// misfit says why a process cannot take part in the run; empty: it can.
func (s State) misfit(m Member, arithmetic string) string {
	differs := func(its, ours string) bool { return its != "" && ours != "" && its != ours }
	switch {
	case m.Version != s.Version:
		return fmt.Sprintf("its version is %q, the run's is %q: start the same build everywhere", m.Version, s.Version)
	case arithmetic != "" && m.Arithmetic != arithmetic:
		return fmt.Sprintf("its arithmetic is %q, the run's is %q: choose kernels of that arithmetic with --kernels%s", m.Arithmetic, arithmetic, where(m.Arithmetic, arithmetic))
	case differs(m.SpecSHA256, s.SpecSHA256):
		return fmt.Sprintf("the spec that it has is sha256:%s, the run's is sha256:%s: it was started for another run", m.SpecSHA256, s.SpecSHA256)
	case differs(m.TrainSHA256, s.TrainSHA256):
		return fmt.Sprintf("its training images are sha256:%s, the run's are sha256:%s: give it the same --data", m.TrainSHA256, s.TrainSHA256)
	case differs(m.TestSHA256, s.TestSHA256):
		return fmt.Sprintf("its test images are sha256:%s, the run's are sha256:%s: give it the same --data", m.TestSHA256, s.TestSHA256)
	}
	return ""
}

// where is what else settles an arithmetic: in half precision it is a GPU's compute capability, with which the name ends.
func where(its, runs string) string {
	if strings.Contains(its, "-sm") && strings.Contains(runs, "-sm") {
		return ", and a GPU of that compute capability"
	}
	return ""
}

// silent says that a connected trainer's word is overdue.
func (s State) silent(t Trainer) bool { return s.Silence > 0 && t.Silent >= s.Silence }

// gaveUp is a process's own word that it failed; nil: it did not.
func (s State) gaveUp(m Member) *Failure {
	if i := slices.IndexFunc(s.Failures, func(f Failure) bool { return m.same(f.Member) }); i >= 0 {
		return &s.Failures[i]
	}
	return nil
}

// seat is the place in the generation of whoever has or had that id; nil: there is none.
func (s State) seat(id string) *Seat {
	if s.Generation == nil {
		return nil
	}
	if i := slices.IndexFunc(s.Generation.Seats, func(t Seat) bool { return t.ID == id }); i >= 0 {
		return &s.Generation.Seats[i]
	}
	return nil
}

// seated says that this very process is in the generation.
func (s State) seated(m Member) bool {
	seat := s.seat(m.ID)
	return seat != nil && seat.same(m)
}

// trainer is what is known of the process in a seat; nil: nothing is.
func (s State) trainer(m Member) *Trainer {
	if i := slices.IndexFunc(s.Trainers, func(t Trainer) bool { return t.same(m) }); i >= 0 {
		return &s.Trainers[i]
	}
	return nil
}

// member is the process of that id, in words.
func (s State) member(id string) string {
	if seat := s.seat(id); seat != nil {
		return seat.String()
	}
	if i := slices.IndexFunc(s.Trainers, func(t Trainer) bool { return t.ID == id }); i >= 0 {
		return s.Trainers[i].String()
	}
	return id
}
