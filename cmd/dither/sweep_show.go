package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// show shows how far a study is: one bar, whose unit is an iteration, for runs differ in length; and a line for each run that is over.
type show struct {
	sweep *sweep
	bar   *Progress

	mu      sync.Mutex
	reached map[int]int           // iterations of runs that are not over or were done here, by index
	seconds map[int]time.Duration // that a run took here
	over    int                   // runs of this part
	total   int
}

func newShow(s *sweep, pending []int) *show {
	w := &show{sweep: s, reached: map[int]int{}, seconds: map[int]time.Duration{}}
	iterations := 0
	for i := range s.runs {
		if s.mine(i) {
			w.total++
		}
	}
	w.over = w.total - len(pending)
	for _, i := range pending {
		iterations += int(s.runs[i].Spec.Iterations)
	}
	w.bar = s.app.progress("study", iterations)
	return w
}

// event is told what happens in a run.
func (w *show) event(i int, e *ditherv1.WatchResponse) {
	r := e.GetIteration()
	if r == nil {
		return
	}
	w.mu.Lock()
	w.reached[i] = int(r.GetIteration())
	n := 0
	for _, k := range w.reached {
		n += k
	}
	note := fmt.Sprintf("%d/%d runs; %s: %d/%d, loss %.4g", w.over, w.total, describe(w.sweep.spec, w.sweep.runs[i]), r.GetIteration(), w.sweep.runs[i].Spec.Iterations, r.GetLoss())
	w.mu.Unlock()
	w.bar.Set(n, note)
}

func (w *show) took(i int, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seconds[i] += d
}

// settled tells what came of a run.
func (w *show) settled(i int, o study.Outcome, why error) {
	w.mu.Lock()
	w.over++
	w.reached[i] = int(o.Spec.Iterations)
	head := fmt.Sprintf("run %d/%d: %s: ", w.over, w.total, describe(w.sweep.spec, o.Run))
	seconds := w.seconds[i]
	n := 0
	for _, k := range w.reached {
		n += k
	}
	note := fmt.Sprintf("%d/%d runs", w.over, w.total)
	w.mu.Unlock()
	w.bar.Set(n, note)
	var tail string
	switch {
	case errors.Is(why, errBusy):
		tail = "another process is doing it"
	case why != nil:
		tail = "failed: " + sentence(why)
	case o.State == study.Diverged:
		tail = "diverged: " + o.Reason
	default:
		var what []string
		for _, v := range []struct {
			name, format string
			value        *float64
		}{{"validation", "%.4f", o.ValidationAccuracy}, {"test", "%.4f", o.TestAccuracy}, {"gradient norm", "%.5g", o.GradientNorm}} {
			if v.value != nil {
				what = append(what, v.name+" "+fmt.Sprintf(v.format, *v.value))
			}
		}
		tail = strings.Join(what, ", ")
	}
	if seconds > 0 {
		tail += " (" + formatDuration(seconds) + ")"
	}
	fmt.Fprintln(w.sweep.app.stderr, head+tail)
}

func (w *show) done() { w.bar.Done() }
