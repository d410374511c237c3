package simulation

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
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
	// One that stood in line has the result from etcd; the record is that of the coordinator which ended the run.
	c := w.ender
	record, err := runlog.Read(c.dir)
	for _, other := range w.leaders {
		if err == nil && record.Result != nil {
			break
		}
		c = other
		record, err = runlog.Read(c.dir)
	}
	if err == nil && record.Result == nil {
		err = errors.New("no coordinator has recorded the result")
	}
	if err != nil {
		_ = w.defect("the record in %s cannot be read: %v", filepath.Base(c.dir), err)
		return
	}
	for _, unknown := range record.Unknown {
		_ = w.defect("the record of %s: %s", c.name, unknown)
	}
	last, there := uint32(0), map[uint32]bool{}
	for _, it := range record.Iterations {
		if it.Iteration <= last || it.Iteration > w.Iterations {
			_ = w.defect("the record of %s has iteration %d after %d", c.name, it.Iteration, last)
			return
		}
		last, there[it.Iteration] = it.Iteration, true
		if math.Float64bits(it.Loss) != math.Float64bits(w.oracle.losses[last]) {
			_ = w.defect("the record of %s has the loss %v for iteration %d, the quiet run has %v", c.name, it.Loss, last, w.oracle.losses[last])
		}
	}
	for k := uint32(1); k <= w.Iterations; k++ {
		if who := w.keeper(k); who != "" && !there[k] && w.begun == 1 { // a run that is begun again counts from its newest checkpoint on
			_ = w.defect("the record of %s lacks iteration %d, which %s did", c.name, k, who)
			return
		}
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

// keeper is a trainer of the last generation that has the record of iteration k; empty: it went with those who had it.
func (w *world) keeper(k uint32) string {
	g, _ := w.etcd.Run(runName).Generation(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		if k >= p.first && k <= p.last && slices.ContainsFunc(g.GetTrainers(), func(m *ditherv1.Member) bool { return m.GetAddress() == p.member.GetAddress() }) {
			return p.member.GetAddress()
		}
	}
	return ""
}
