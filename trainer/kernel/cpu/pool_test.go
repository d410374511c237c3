package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// A step is over when all its units are, whether workers look out for it, sleep, or are more than the processors.
func TestAStepIsOverWhenItsUnitsAre(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		p := newPool(threads)
		var running, done atomic.Int64
		for round := range 3000 {
			units := 1 + round%11
			done.Store(0)
			p.run(&step{units: units, work: little + 1, run: func(worker, unit int) {
				running.Add(1)
				if round%5 == 0 {
					runtime.Gosched()
				}
				running.Add(-1)
				done.Add(1)
			}})
			if n := running.Load(); n != 0 || done.Load() != int64(units) {
				t.Fatalf("%d threads, round %d: %d of %d units were done and %d are running when the step is over", threads, round, done.Load(), units, n)
			}
			if round%500 == 0 { // longer than anybody's patience
				for range 20 * patience {
					runtime.Gosched()
				}
			}
		}
		p.close()
	}
}
