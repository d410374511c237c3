package scale

import (
	"flag"
	"math"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables into docs/scale.md")

// TestTwoTrainers holds the model to what can be reckoned by hand: one bucket, one chunk, two trainers.
func TestTwoTrainers(t *testing.T) {
	n := Net{Latency: 1e-3, Bandwidth: 1e6, PerMessage: 1e-4}
	j := Job{Step: 0.5, Buckets: []int{250}} // 1 ms on the link
	// Rank 1 sends its partial (0.1 + 1 + 1 + 0.1 ms), rank 0 adds and sends the sum.
	got := Direct(2, j, n)
	if want := 0.5 + 2*2.2e-3; math.Abs(got.Seconds-want) > 1e-9 || got.Messages != 2 || got.Bytes != 1000 {
		t.Errorf("%+v, want %v s", got, want)
	}
}

// TestNothingBeatsTheLimit at any size, and the direct way's messages are those of its essay: each trainer sends a partial of every chunk that it does not own.
func TestNothingBeatsTheLimit(t *testing.T) {
	for _, n := range Nets() {
		for _, j := range Jobs() {
			for _, trainers := range []int{2, 7, 64} {
				limit := Limit(trainers, j, n).Seconds
				for name, r := range map[string]Result{"direct": Direct(trainers, j, n), "levels": Levels(trainers, fanIn, j, n), "ring": Ring(trainers, j, n)} {
					if r.Seconds < limit {
						t.Errorf("%s, %s, %d trainers: %s takes %v s, less than the limit %v", n.Name, j.Name, trainers, name, r.Seconds, limit)
					}
				}
			}
		}
	}
}

// TestLargeSizes: where both can be had, what is reckoned is near what is followed.
func TestLargeSizes(t *testing.T) {
	for _, n := range Nets() {
		for _, j := range Jobs() {
			followed, reckoned := Direct(100, j, n), DirectLarge(100, j, n)
			if ratio := reckoned.Exposed / followed.Exposed; ratio < 0.4 || ratio > 2.5 {
				t.Errorf("%s, %s: %v s of exposed communication reckoned, %v s followed", n.Name, j.Name, reckoned.Exposed, followed.Exposed)
			}
		}
	}
}

const page = "../../../docs/scale.md"

// TestThePageIsWhatTheModelSays: docs/scale.md has the tables of now.
func TestThePageIsWhatTheModelSays(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range Nets() {
		for _, j := range Jobs() {
			table := Table(n, j, []int{2, 8, 100, 1000, 10000})
			if *update {
				text = replace(text, table)
				continue
			}
			if !strings.Contains(string(text), table) {
				t.Errorf("%s does not have\n%s", page, table)
			}
		}
	}
	if *update {
		if err := os.WriteFile(page, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// replace puts a table in the place of the one of the same title.
func replace(text []byte, table string) []byte {
	title, _, _ := strings.Cut(table, "\n")
	before, rest, found := strings.Cut(string(text), title+"\n")
	if !found {
		return append(text, "\n"+table...)
	}
	_, after, _ := strings.Cut(rest[1:], "\n\n")
	return []byte(before + table + "\n" + after)
}
