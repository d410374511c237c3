package simulation

import (
	"errors"
	"math"
	"path/filepath"

	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/trainer"
)

// check holds how the run ended against the quiet run.
func (w *world) check() {
	w.mu.Lock()
	r := w.result
	processes := append([]*process(nil), w.processes...)
	w.mu.Unlock()
	for _, p := range processes { // who went by itself had a reason
		select {
		case <-p.done:
		default:
			continue
		}
		w.mu.Lock()
		killed, drained := errors.Is(p.err, errKilled), p.drained
		w.mu.Unlock()
		switch {
		case p.err == nil && r != nil, killed, errors.Is(p.err, trainer.ErrOver) && r != nil, errors.Is(p.err, trainer.ErrLeft) && drained:
		default:
			_ = w.defect("%s gave up: %v", p.member.GetAddress(), p.err)
		}
	}
	if r == nil {
		return
	}
	want := parameters(w.oracle.last)
	switch {
	case r.GetPhase() != "finished":
		_ = w.defect("the run ended as %s: %s", r.GetPhase(), r.GetReason())
		return
	case r.GetIteration() != w.Iterations || r.GetParametersSha256() != want:
		_ = w.defect("the run ended after iteration %d with parameters %s, the quiet run after %d with %s", r.GetIteration(), r.GetParametersSha256(), w.Iterations, want)
	}
	w.checkLog()
}

// checkLog reads the record of the coordinator that ended the run: every iteration once, in order, with the quiet run's losses.
func (w *world) checkLog() {
	c := w.ender
	record, err := runlog.Read(c.dir)
	if err != nil {
		_ = w.defect("the record in %s cannot be read: %v", filepath.Base(c.dir), err)
		return
	}
	for _, unknown := range record.Unknown {
		_ = w.defect("the record of %s: %s", c.name, unknown)
	}
	next := uint32(1)
	for _, it := range record.Iterations {
		if it.Iteration != next {
			_ = w.defect("the record of %s has iteration %d where %d is due", c.name, it.Iteration, next)
			return
		}
		if math.Float64bits(it.Loss) != math.Float64bits(w.oracle.losses[next]) {
			_ = w.defect("the record of %s has the loss %v for iteration %d, the quiet run has %v", c.name, it.Loss, next, w.oracle.losses[next])
			return
		}
		next++
	}
	if next != w.Iterations+1 {
		_ = w.defect("the record of %s ends before iteration %d of %d", c.name, next, w.Iterations)
	}
	for _, e := range record.Events {
		if e.Kind != runlog.KindEvaluation {
			continue
		}
		switch {
		case e.GradientNorm != nil && math.Abs(*e.GradientNorm-w.oracle.norm) > 1e-12:
			_ = w.defect("the record of %s has the gradient norm %v, the quiet run has %v", c.name, *e.GradientNorm, w.oracle.norm)
		case e.Loss != nil && *e.Loss != w.oracle.tests[e.Iteration]:
			_ = w.defect("the record of %s has the test loss %v after iteration %d, the quiet run has %v", c.name, *e.Loss, e.Iteration, w.oracle.tests[e.Iteration])
		}
	}
}
