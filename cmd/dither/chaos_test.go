package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestRecoveryIsFromAKillToALaterGeneration(t *testing.T) {
	at := func(s float64, generation uint64) moment {
		return moment{time.Unix(0, int64(s*1e9)), generation}
	}
	p := &play{
		kills: []moment{at(1.5, 1), at(3, 2), at(9, 3)},
		// The iteration at 1.6 was in flight, and ended in the generation of the one who was killed; nothing follows the last kill.
		moments: []moment{at(1, 1), at(1.6, 1), at(2.25, 2), at(2.5, 2), at(3.5, 3), at(8, 3)},
	}
	if got, want := p.recoveries(), []float64{0.75, 0.5}; !slices.Equal(got, want) {
		t.Errorf("recoveries are %v, want %v", got, want)
	}
}

func TestWhatDiffersFromTheQuietRun(t *testing.T) {
	q := &quietRun{result: &runlog.Result{ParametersSHA256: "aa"}, losses: []float64{3, 2, 1}}
	for _, c := range []struct {
		phase, sum string
		losses     map[uint32]float64
		mayLose    bool
		want       string
		missing    int
	}{
		{"finished", "aa", map[uint32]float64{1: 3, 2: 2, 3: 1}, false, "", 0},
		{"failed", "aa", map[uint32]float64{1: 3, 2: 2, 3: 1}, false, "the run failed: why", 0},
		{"finished", "ab", map[uint32]float64{1: 3, 2: 2, 3: 1}, false, "its parameters are sha256:ab, and the quiet run's sha256:aa", 0},
		{"finished", "aa", map[uint32]float64{1: 3, 2: 2.5, 3: 1}, false, "the loss of iteration 2 is 2.5, and the quiet run's 2", 0},
		{"finished", "aa", map[uint32]float64{1: 3, 3: 1}, false, "metrics.jsonl lacks 1 of 3 iterations, and nothing was done for which it may", 1},
		{"finished", "aa", map[uint32]float64{1: 3, 3: 1}, true, "", 1},
		{"finished", "aa", map[uint32]float64{1: 3}, true, "", 2},
		{"finished", "aa", map[uint32]float64{1: 3, 3: 2}, true, "the loss of iteration 3 is 2, and the quiet run's 1", 0},
		{"finished", "aa", map[uint32]float64{1: 3, 2: 2, 3: 1, 4: 1}, true, "metrics.jsonl has iteration 4 where 4 is due, of 3", 0},
	} {
		dir := t.TempDir()
		log, err := runlog.Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range slices.Sorted(maps.Keys(c.losses)) {
			if err := log.Iteration(runlog.Iteration{Iteration: k, Loss: c.losses[k]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		got, missing := q.differs(&ditherv1.RunResult{Phase: c.phase, Reason: "why", ParametersSha256: c.sum}, dir, c.mayLose)
		if got != c.want || missing != c.missing {
			t.Errorf("%+v: %q, %d missing", c, got, missing)
		}
	}
}

func TestAChaosIsPlayedAgainByItsCommand(t *testing.T) {
	o := chaosOptions{Seed: 1, Schedules: 100, Trainers: 3, Coordinators: 2, Etcd: 3, Teachers: 0, Seconds: 4.5, Faults: "kill,cut", Model: "mlp", Silence: time.Second}
	words := strings.Fields(o.replay(17, 300))
	cmd := newChaosCommand(newApp(nil, nil))
	if err := cmd.ParseFlags(words[2:]); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"seed": "17", "schedules": "1", "iterations": "300", "trainers": "3", "teachers": "0", "seconds": "4.5", "faults": "kill,cut", "silence": "1s"} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %s, want %s", flag, got, want)
		}
	}
}
