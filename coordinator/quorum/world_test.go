package quorum

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// world is a cluster as its coordinator sees it: commands change it, and decisions are carried out. Scripts and the model test play in it.
type world struct {
	State
	last  Decision
	begun bool // there was a decision
}

func newWorld() *world {
	return &world{State: State{
		Version: "v1", Arithmetic: "cpu/2", SpecSHA256: "5bec", TrainSHA256: "7a11", TestSHA256: "7e57", Iterations: 20,
		Silence: 2 * time.Second, Benched: 30 * time.Second, Patience: time.Minute, Words: map[string]Word{},
	}}
}

// decide decides and puts what is decided in force.
func (w *world) decide() Decision {
	d := Decide(w.State)
	if d.Phase != w.last.Phase || !w.begun {
		w.Waited = 0
	}
	if !d.TeacherAway {
		w.TeacherAway = 0
	}
	if d.Phase == Failed && w.Doomed == nil {
		w.Doomed, w.Ordered = &d, 0
	}
	if g := d.Generation; g != nil {
		w.Generation, w.Last = g, g.Number
		clear(w.Words)
	}
	w.last, w.begun = d, true
	return d
}

// age lets time pass.
func (w *world) age(d time.Duration) {
	w.Leading += d
	if w.last.Phase == Waiting {
		w.Waited += d
	}
	if w.last.TeacherAway {
		w.TeacherAway += d
	}
	if w.Doomed != nil {
		w.Ordered += d
	}
	for i := range w.Complaints {
		w.Complaints[i].Ago += d
	}
	w.Complaints = slices.DeleteFunc(w.Complaints, func(c Complaint) bool {
		return c.Ago > 2*w.Benched && c.Generation != w.Last
	})
	for i := range w.Trainers {
		if t := &w.Trainers[i]; !t.Connected || t.Silent > 0 {
			t.Silent += d
		}
	}
}

// is finds a trainer; one that is not there yet is made.
func (w *world) is(id string) *Trainer {
	i := slices.IndexFunc(w.Trainers, func(t Trainer) bool { return t.ID == id })
	if i < 0 {
		i = len(w.Trainers)
		w.Trainers = append(w.Trainers, Trainer{Member: Member{ID: id}})
	}
	return &w.Trainers[i]
}

// process is a new one under a trainer's or a teacher's id.
func process(w []string) Member {
	m := Member{ID: w[1], Process: w[2], Version: "v1", Arithmetic: "cpu/2"}
	for _, said := range w[3:] {
		key, value, _ := strings.Cut(said, "=")
		switch key {
		case "version":
			m.Version = value
		case "arithmetic":
			m.Arithmetic = value
		case "spec":
			m.SpecSHA256 = value
		case "train":
			m.TrainSHA256 = value
		case "test":
			m.TestSHA256 = value
		}
	}
	return m
}

func (w *world) command(c []string) error {
	n := func(i int) int { v, _ := strconv.Atoi(c[i]); return v }
	d := func(i int) time.Duration { v, _ := time.ParseDuration(c[i]); return v }
	rest := func(i int) string { return strings.Join(c[i:], " ") }
	after := func(word string) uint32 {
		if i := slices.Index(c, word); i > 0 {
			return uint32(n(i + 1))
		}
		return 0
	}
	switch c[0] {
	// What is asked for.
	case "run": // run SHARDS TRAINERS|MIN:MAX [teacher] [after K] [stop-after K]
		w.Shards, w.NeedTeacher = n(1), slices.Contains(c, "teacher")
		w.After, w.StopAfter = after("after"), after("stop-after")
		w.Iteration = max(w.Iteration, w.After)
		if least, most, ok := strings.Cut(c[2], ":"); ok {
			w.Min, _ = strconv.Atoi(least)
			w.Max, _ = strconv.Atoi(most)
			w.Start = w.Min
		} else {
			w.Start, w.Min, w.Max = n(2), 1, max(n(2), w.Shards)
		}
	case "checkpoint": // checkpoint K: one is on disk
		w.After = uint32(n(1))
	case "wait": // wait LIMIT
		w.WaitTimeout = d(1)
	case "arithmetic": // arithmetic NAME: of the run
		w.Arithmetic = c[1]
	case "teacher-arithmetic":
		w.TeacherArithmetic = c[1]
	case "stop": // stop REASON
		w.StopAsked, w.StopReason = true, rest(1)

	// Processes.
	case "join": // join ID PROCESS [version=V] [arithmetic=A] [spec=H] [train=H] [test=H]: it is in etcd and has said hello
		*w.is(c[1]) = Trainer{Member: process(c), Lease: true, Connected: true}
	case "lease": // lease ID PROCESS: it is in etcd
		*w.is(c[1]) = Trainer{Member: process(c), Lease: true}
	case "teacher":
		w.Teachers = append(w.Teachers, process(c))
	case "lease-ends": // lease-ends ID
		w.is(c[1]).Lease = false
	case "teacher-leaves": // teacher-leaves ID
		w.Teachers = slices.DeleteFunc(w.Teachers, func(m Member) bool { return m.ID == c[1] })
	case "breaks": // breaks ID: its report stream did
		t := w.is(c[1])
		t.Connected, t.Silent = false, 0
	case "lose": // lose ID: both, and long since
		t := w.is(c[1])
		t.Lease, t.Connected, t.Silent = false, false, w.Silence
	case "back": // back ID: it calls again
		t := w.is(c[1])
		t.Lease, t.Connected, t.Silent = true, true, 0
	case "silent": // silent ID FOR
		w.is(c[1]).Silent = d(2)
	case "leave": // leave ID REASON
		w.is(c[1]).Leaving = rest(2)
	case "level": // level ID K: it has the state after K
		t := w.is(c[1])
		t.HasState, t.Iteration = true, uint32(n(2))

	// What trainers say.
	case "applied": // applied K
		w.Iteration = uint32(n(1))
		for i := range w.Trainers {
			if t := &w.Trainers[i]; t.Connected && w.seated(t.Member) {
				t.HasState, t.Iteration = true, w.Iteration
			}
		}
	case "complain": // complain FROM TO REASON; TO "-" names nobody
		w.Complaints = append(w.Complaints, Complaint{Generation: w.Last, From: c[1], To: strings.TrimPrefix(c[2], "-"), Reason: rest(3)})
	case "finished", "stopped": // finished ID ITERATION PARAMETERS
		w.Words[c[1]] = Word{Generation: w.Last, Iteration: uint32(n(2)), Parameters: c[3], Stopped: c[0] == "stopped"}
	case "fails", "fails-for-good", "cannot-write": // fails ID MESSAGE; ID "-" is the coordinator
		f := Failure{Message: rest(2), Deterministic: c[0] == "fails-for-good", Unwritable: c[0] == "cannot-write"}
		if c[1] != "-" {
			f.Member = w.is(c[1]).Member
		}
		w.Failures = append(w.Failures, f)
	case "seconds": // seconds S0 S1 ...
		w.Seconds = nil
		for i := range w.Shards {
			v, _ := strconv.ParseFloat(c[1+i], 64)
			w.Seconds = append(w.Seconds, v)
		}

	// Time.
	case "age": // age FOR
		w.age(d(1))
	case "lead": // another coordinator comes to lead, whom nobody has called yet
		w.Leading, w.Grace, w.Complaints, w.Words = 0, 3*time.Second, nil, map[string]Word{}
		for i := range w.Trainers {
			t := &w.Trainers[i]
			t.Connected, t.Silent, t.HasState = false, 0, false
		}
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func show(d Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Phase, d.Reason)
	if g := d.Generation; g != nil {
		planned := ""
		if g.Planned {
			planned = ", planned"
		}
		fmt.Fprintf(&b, "generation %d after iteration %d%s\n", g.Number, g.After, planned)
		for rank, t := range g.Seats {
			fmt.Fprintf(&b, "  rank %d: %v, shards [%d,%d)\n", rank, t.Member, t.First, t.End)
		}
	}
	if d.Stop {
		b.WriteString("order the trainers to stop\n")
	}
	for _, r := range d.Refused {
		fmt.Fprintf(&b, "send %s away: %s\n", r.ID, r.Reason)
	}
	for _, r := range d.Dismissed {
		fmt.Fprintf(&b, "let %s go: %s\n", r.ID, r.Reason)
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if d.Temporary {
		b.WriteString("a retry may succeed\n")
	}
	if d.Over {
		b.WriteString("over\n")
	}
	return b.String()
}
