package simulation

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

var (
	schedules = flag.Int("schedules", 200, "how many schedules are played")
	seed      = flag.Uint64("seed", 0, "play the schedule of this seed alone, and show all that happens; 0: those from 1 on")
	first     = flag.Uint64("first", 1, "the first seed")
	parallel  = flag.Int("side-by-side", 2, "how many schedules are played at a time")
)

// folder is memory where there is such a thing: nothing that a simulation writes is worth a disk's time.
func folder(t testing.TB) string {
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "dither-simulation-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// play plays one schedule in a bubble of its own.
func play(t *testing.T, s Schedule, m *mutant, dir string, logTo io.Writer) (r report) {
	dir, err := os.MkdirTemp(dir, "run")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "panic in %v\n", s)
			panic(p)
		}
	}()
	log := slog.New(slog.DiscardHandler)
	if logTo != nil {
		log = slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				a.Value = slog.StringValue(a.Value.Time().Format("04:05.000000"))
			}
			return a
		}}))
	}
	synctest.Test(t, func(*testing.T) { r = newWorld(s, m, dir, log).play() })
	return r
}

// TestSchedules plays many schedules: each run must end, with the quiet run's parameters.
func TestSchedules(t *testing.T) {
	dir := folder(t)
	if *seed != 0 {
		s := draw(*seed)
		fmt.Println(s)
		r := play(t, s, nil, dir, os.Stdout)
		fmt.Printf("%d lines, hash %s, %v, %d generations\n", r.lines, r.hash, r.virtual, r.generations)
		for _, d := range r.defects {
			t.Errorf("seed %d: %s", *seed, d)
		}
		return
	}
	var next, done, failed atomic.Int64
	var generations atomic.Uint64
	var leaked int64
	var virtual atomic.Int64
	began, said := time.Now(), time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range *parallel {
		all.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(*schedules) || failed.Load() > 20 {
					return
				}
				s := draw(*first + uint64(i))
				r := play(t, s, nil, dir, nil)
				generations.Add(r.generations)
				virtual.Add(int64(r.virtual))
				n := done.Add(1)
				if held := wire.Outstanding(); *parallel == 1 && held != 0 && leaked == 0 {
					leaked = held
					t.Errorf("seed %d: %d buffers of the all-reduce are still held", s.Seed, held)
				}
				if len(r.defects) > 0 {
					failed.Add(1)
					t.Errorf("seed %d: %s\n%v\nthe last that happened:\n%s", s.Seed, strings.Join(r.defects, "\n"), s, strings.Join(r.trace[max(0, len(r.trace)-12):], "\n"))
				}
				mu.Lock()
				if time.Since(said) > 10*time.Second {
					said = time.Now()
					fmt.Printf("%d of %d schedules, %d failed, %.0f a minute\n", n, *schedules, failed.Load(), float64(n)/time.Since(began).Minutes())
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	n := max(1, done.Load())
	t.Logf("%d schedules in %v: %.0f a minute, %.1f generations and %v of the runs' time each", n, time.Since(began).Round(time.Millisecond), float64(n)/time.Since(began).Minutes(),
		float64(generations.Load())/float64(n), time.Duration(virtual.Load()/n).Round(time.Millisecond))
	if held := wire.Outstanding(); held != 0 {
		t.Errorf("%d buffers of the all-reduce are still held", held)
	}
}

// TestMutants shows the simulation what it is there to find.
func TestMutants(t *testing.T) {
	dir := folder(t)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if m.reduce != 0 {
				defer allreduce.Mutate(m.reduce)()
			}
			for seed := uint64(1); seed <= 1000; seed++ {
				s := draw(seed)
				if m.shape != nil {
					m.shape(&s)
				}
				r := play(t, s, m, dir, nil)
				for _, d := range r.defects {
					if strings.Contains(d, m.want) {
						t.Logf("found with seed %d: %.300s", seed, d)
						return
					}
				}
			}
			t.Error("not found in 1000 schedules")
		})
	}
}

// TestASeedReplays plays schedules twice.
func TestASeedReplays(t *testing.T) {
	dir := folder(t)
	same, n := 0, uint64(20)
	hashes := map[string]bool{}
	for seed := range n {
		first := play(t, draw(seed), nil, dir, nil).hash
		hashes[first] = true
		if again := play(t, draw(seed), nil, dir, nil).hash; again == first {
			same++
		}
	}
	t.Logf("%d of %d seeds gave the same trace twice", same, n)
	if same < 4 {
		t.Errorf("only %d of %d seeds gave the same trace twice", same, n)
	}
	if len(hashes) != int(n) {
		t.Errorf("%d seeds gave %d traces", n, len(hashes))
	}
}
