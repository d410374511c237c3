package quorum

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the scripts give into testdata")

// Each file in testdata is a script: lines of commands up to a line "----", what the decision after them is, an empty line. State is
// kept from block to block; a generation that is decided is put in force. `go test ./coordinator/quorum -update` rewrites the answers.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s gives\n%s", file, got)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	s := State{Version: "v1", Arithmetic: "cpu/2", Iterations: 20, Patience: time.Minute, Gone: map[string]string{}, Words: map[string]Word{}}
	var out strings.Builder
	answering := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "----":
			out.WriteString("----\n")
			out.WriteString(show(&s, Decide(s)))
			answering = true
		case answering && line != "": // the answer of an earlier time
		default:
			answering = false
			out.WriteString(line + "\n")
			if line != "" && !strings.HasPrefix(line, "#") {
				if err := command(&s, strings.Fields(line)); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
		}
	}
	return out.String()
}

func command(s *State, w []string) error {
	n := func(i int) int { v, _ := strconv.Atoi(w[i]); return v }
	d := func(i int) time.Duration { v, _ := time.ParseDuration(w[i]); return v }
	rest := func(i int) string { return strings.Join(w[i:], " ") }
	switch w[0] {
	case "run": // run SHARDS TRAINERS [teacher] [after K] [stop-after K]
		s.Shards, s.Trainers = n(1), n(2)
		s.NeedTeacher = slices.Contains(w, "teacher")
		if i := slices.Index(w, "after"); i > 0 {
			s.After = uint32(n(i + 1))
		}
		if i := slices.Index(w, "stop-after"); i > 0 {
			s.StopAfter = uint32(n(i + 1))
		}
	case "join", "teacher": // join ID PROCESS [VERSION [ARITHMETIC]]
		m := Member{ID: w[1], Process: w[2], Version: "v1", Arithmetic: "cpu/2"}
		if len(w) > 3 {
			m.Version = w[3]
		}
		if len(w) > 4 {
			m.Arithmetic = w[4]
		}
		if w[0] == "join" {
			s.Present = append(s.Present, m)
		} else {
			s.Teachers = append(s.Teachers, m)
		}
	case "lease-ends": // lease-ends ID
		is := func(m Member) bool { return m.ID == w[1] }
		s.Present, s.Teachers = slices.DeleteFunc(s.Present, is), slices.DeleteFunc(s.Teachers, is)
	case "breaks": // breaks ID HOW
		s.Gone[w[1]] = rest(2)
	case "applied": // applied K
		s.Iteration = uint32(n(1))
	case "finished", "stopped": // finished ID ITERATION PARAMETERS
		s.Words[w[1]] = Word{Iteration: uint32(n(2)), Parameters: w[3], Stopped: w[0] == "stopped"}
	case "fails", "fails-for-good": // fails ID MESSAGE; ID "-" is the coordinator
		s.Failures = append(s.Failures, Failure{ID: strings.TrimPrefix(w[1], "-"), Message: rest(2), Deterministic: w[0] != "fails"})
	case "stop": // stop REASON
		s.StopAsked, s.StopReason = true, rest(1)
	case "waited": // waited FOR LIMIT
		s.Waited, s.WaitTimeout = d(1), d(2)
	case "ordered": // ordered FOR: time since the order to stop
		s.Ordered = d(1)
	case "teacher-arithmetic":
		s.TeacherArithmetic = w[1]
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func show(s *State, d Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Phase, d.Reason)
	if d.Phase == Failed {
		s.Doomed = &d
	}
	if g := d.Generation; g != nil {
		s.Generation = g
		fmt.Fprintf(&b, "generation %d after iteration %d\n", g.Number, g.After)
		for rank, t := range g.Seats {
			fmt.Fprintf(&b, "  rank %d: %v, shards [%d,%d)\n", rank, t.Member, t.First, t.End)
		}
		for _, m := range g.Teachers {
			fmt.Fprintf(&b, "  teacher %v\n", m)
		}
	}
	if d.Stop {
		b.WriteString("order the trainers to stop\n")
	}
	for _, r := range d.Refused {
		fmt.Fprintf(&b, "send %s away: %s\n", r.ID, r.Reason)
	}
	if d.Temporary {
		b.WriteString("a retry may succeed\n")
	}
	if d.Over {
		b.WriteString("over\n")
	}
	return b.String()
}
