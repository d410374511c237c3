package coordinator

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dither-ml/dither/coordinator/quorum"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// record is what an execution leaves in the run's folder (runlog) and shows to those who watch (feed).
type record struct {
	dir    string
	batch  uint32
	log    *runlog.Log
	feed   *feed
	result runlog.Result // as far as it is known
	now    func() time.Time
}

// openRecord begins a run's record, or goes on with it after iteration `after`.
func openRecord(c Config, after uint32) (*record, error) {
	r := &record{dir: c.Dir, batch: c.Spec.GetBatch(), now: time.Now, result: runlog.Result{
		SpecSHA256: c.SpecSHA256, Arithmetic: c.Spec.GetArithmetic(), DataOfficial: c.DataOfficial, Iterations: after}}
	var err error
	switch {
	case c.Resume:
		r.log, err = runlog.Append(c.Dir)
		if errors.Is(err, runlog.ErrNoRun) { // it was stopped before there was anything to record
			r.log, err = runlog.Create(c.Dir)
		}
		if err == nil {
			err = r.log.Rewind(after)
		}
	default:
		r.log, err = runlog.Create(c.Dir)
	}
	if err != nil {
		return nil, r.abandon(err)
	}
	if r.feed, err = newFeed(c.Dir); err != nil {
		return nil, r.abandon(err)
	}
	if c.Resume {
		if err := r.replay(); err != nil {
			return nil, r.abandon(err)
		}
	}
	return r, nil
}

func (r *record) abandon(err error) error { return errors.Join(err, r.close()) }

func (r *record) close() error {
	var errs []error
	if r.log != nil {
		errs = append(errs, r.log.Close())
	}
	if r.feed != nil {
		errs = append(errs, r.feed.close())
	}
	return errors.Join(errs...)
}

func (r *record) show(e *ditherv1.WatchResponse) {
	e.TimeUnixNanos = r.now().UnixNano()
	r.feed.append(e)
}

// replay shows what earlier executions recorded.
func (r *record) replay() error {
	old, err := runlog.Read(r.dir)
	if err != nil {
		return err
	}
	its := old.Iterations
	upTo := func(k uint32) {
		for len(its) > 0 && its[0].Iteration <= k {
			it := its[0]
			its = its[1:]
			r.learn(it)
			r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Iteration{Iteration: &ditherv1.IterationRecord{
				Iteration: it.Iteration, Loss: it.Loss, Correct: uint32(math.Round(it.Accuracy * float64(r.batch))), Lr: it.LR, Seconds: it.Seconds,
				LabelWaitSeconds: it.LabelWaitSeconds, ExchangeWaitSeconds: it.ExchangeWaitSeconds}}})
		}
	}
	for _, e := range old.Events {
		upTo(e.Iteration)
		switch e.Kind {
		case runlog.KindEvaluation:
			v := &ditherv1.Evaluation{Kind: e.Split, Iteration: e.Iteration, Images: uint32(e.Images)}
			if e.GradientNorm != nil {
				v.Kind, v.GradientNorm = "gradient_norm", *e.GradientNorm
			}
			if e.Loss != nil {
				v.Loss = *e.Loss
			}
			if e.Accuracy != nil {
				v.Accuracy = *e.Accuracy
			}
			r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Evaluation{Evaluation: v}})
		case runlog.KindCheckpoint:
			r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Checkpoint{Checkpoint: e.Path}})
		}
	}
	upTo(math.MaxUint32)
	return nil
}

func (r *record) learn(it runlog.Iteration) {
	loss := it.Loss
	r.result.Iterations, r.result.TrainLoss = it.Iteration, &loss
}

// status records a change of phase.
func (r *record) status(s *ditherv1.StatusResponse) error {
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Status{Status: s}})
	return r.log.Event(runlog.Event{Kind: runlog.KindStatus, Message: s.GetPhase() + ": " + s.GetReason(), Iteration: s.GetIteration(), Generation: s.GetGeneration()})
}

func (r *record) generation(g *quorum.Generation) error {
	return r.log.Event(runlog.Event{Kind: runlog.KindGeneration, Message: g.Reason, Iteration: g.After, Generation: g.Number})
}

// iteration records one that every trainer has reported; rate is in training images a second.
func (r *record) iteration(w *wholeIteration, generation uint64, rate float64) error {
	m := w.record
	it := runlog.Iteration{Iteration: m.GetIteration(), Loss: m.GetLoss(), Accuracy: float64(m.GetCorrect()) / float64(max(1, r.batch)), LR: m.GetLr(),
		Seconds: m.GetSeconds(), ImagesPerSecond: rate, Generation: generation, LabelsSHA256: w.labels,
		LabelWaitSeconds: m.GetLabelWaitSeconds(), ExchangeWaitSeconds: m.GetExchangeWaitSeconds()}
	r.learn(it)
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Iteration{Iteration: m}})
	return r.log.Iteration(it)
}

func (r *record) evaluation(v *ditherv1.Evaluation) error {
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Evaluation{Evaluation: v}})
	e := runlog.Event{Kind: runlog.KindEvaluation, Iteration: v.GetIteration(), Split: v.GetKind(), Images: int(v.GetImages())}
	loss, accuracy, norm, images := v.GetLoss(), v.GetAccuracy(), v.GetGradientNorm(), int(v.GetImages())
	if v.GetKind() == "gradient_norm" {
		e.Split, e.GradientNorm = "train", &norm
		e.Message = fmt.Sprintf("gradient norm %.6g over %d training images", norm, images)
		r.result.GradientNorm, r.result.GradientNormImages = &norm, &images
		return r.log.Event(e)
	}
	e.Loss, e.Accuracy = &loss, &accuracy
	e.Message = fmt.Sprintf("%s accuracy %.4f, loss %.6g over %d images", v.GetKind(), accuracy, loss, images)
	if v.GetKind() == "test" {
		r.result.TestAccuracy, r.result.TestLoss = &accuracy, &loss
	} else {
		r.result.ValidationAccuracy = &accuracy
	}
	return r.log.Event(e)
}

func (r *record) checkpoint(k uint32) error {
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Checkpoint{Checkpoint: relative(k)}})
	return r.log.Event(runlog.Event{Kind: runlog.KindCheckpoint, Message: "a checkpoint is on disk", Iteration: k, Path: relative(k)})
}

// end writes result.json. Whoever watches learns of the result even where it cannot be written.
func (r *record) end(m *ditherv1.RunResult, rate float64) error {
	res := r.result
	res.Phase, res.Reason, res.Iterations = m.GetPhase(), m.GetReason(), m.GetIteration()
	res.ParametersSHA256, res.KernelSets = m.GetParametersSha256(), m.GetKernelSets()
	res.Seconds, res.ImagesPerSecond, res.Generations = m.GetSeconds(), rate, m.GetGenerations()
	kind := runlog.KindResult
	if m.GetPhase() == string(quorum.Failed) {
		kind = runlog.KindFailure
	}
	err := errors.Join(
		r.log.Event(runlog.Event{Kind: kind, Message: m.GetPhase() + ": " + m.GetReason(), Iteration: m.GetIteration(), Generation: m.GetGenerations()}),
		runlog.WriteResult(r.dir, res))
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Result{Result: m}})
	r.feed.end()
	return err
}
