package coordinator

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dither-ml/dither/coordinator/quorum"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// record is what an execution leaves in the run's folder (runlog), in etcd (journal), and shows to those who watch (feed).
type record struct {
	dir         string
	batch       uint32
	log         *runlog.Log
	journal     *journal
	feed        *feed
	result      runlog.Result // as far as it is known
	generations uint64        // that the run has had
	newest      uint64        // number of the last of them
	now         func() time.Time

	// What was there when it was opened.
	kept        []*entry // the last iterations
	evaluations []*ditherv1.Evaluation
}

func newRecord(c Config, j *journal, after uint32) *record {
	return &record{dir: c.Dir, batch: c.Spec.GetBatch(), journal: j, now: time.Now, result: runlog.Result{
		SpecSHA256: c.SpecSHA256, Arithmetic: c.Spec.GetArithmetic(), Precision: ditherv1.Precision(c.Spec.GetArithmetic()), DataOfficial: c.DataOfficial, Iterations: after}}
}

// openRecord begins a run's record, or goes on with it after iteration `after`.
func openRecord(c Config, j *journal, after uint32) (*record, error) {
	r := newRecord(c, j, after)
	var err error
	if c.Resume {
		if r.log, err = appendOrCreate(c.Dir); err == nil {
			err = r.log.Rewind(after)
		}
	} else {
		r.log, err = runlog.Create(c.Dir)
	}
	if err != nil {
		return nil, r.abandon(err)
	}
	return r.opened()
}

// takeOverRecord goes on with the record of a run that goes on: what the folder has, and what it lacks of what earlier leaders left in etcd.
func takeOverRecord(c Config, j *journal) (*record, error) {
	r := newRecord(c, j, 0)
	var err error
	if r.log, err = appendOrCreate(c.Dir); err == nil {
		err = r.log.Adopt(j.found)
	}
	if err != nil {
		return nil, r.abandon(err)
	}
	return r.opened()
}

// appendOrCreate goes on with the log in dir; where a run was stopped, or taken over, before there was anything to record, it is begun.
func appendOrCreate(dir string) (*runlog.Log, error) {
	log, err := runlog.Append(dir)
	if errors.Is(err, runlog.ErrNoRun) {
		return runlog.Create(dir)
	}
	return log, err
}

// opened shows what is on record to those who watch, and leaves to the next leader what etcd lacks of it.
func (r *record) opened() (*record, error) {
	var err error
	if r.feed, err = newFeed(r.dir); err != nil {
		return nil, r.abandon(err)
	}
	lines, err := r.log.Lines()
	if err != nil {
		return nil, r.abandon(err)
	}
	r.journal.seed(lines)
	r.log.Follow(r.journal.add)
	if err := r.replay(); err != nil {
		return nil, r.abandon(err)
	}
	return r, nil
}

// loss of the last iteration on record; 0: there is none.
func (r *record) loss() float64 {
	if r.result.TrainLoss == nil {
		return 0
	}
	return *r.result.TrainLoss
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
			m := &ditherv1.IterationRecord{
				Iteration: it.Iteration, Loss: it.Loss, Correct: uint32(math.Round(it.Accuracy * float64(r.batch))), Lr: it.LR, Seconds: it.Seconds,
				LabelWaitSeconds: it.LabelWaitSeconds, ExchangeWaitSeconds: it.ExchangeWaitSeconds, Generation: it.Generation}
			r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Iteration{Iteration: m}})
			if r.kept = append(r.kept, &entry{record: m, from: "the record", labels: it.LabelsSHA256}); len(r.kept) >= 2*keptRecords {
				r.kept = slices.Delete(r.kept, 0, keptRecords)
			}
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
			r.evaluations = append(r.evaluations, v)
			r.measured(v)
			r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Evaluation{Evaluation: v}})
		case runlog.KindGeneration:
			r.generations++
			r.newest = max(r.newest, e.Generation)
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
	r.generations++
	return r.log.Event(runlog.Event{Kind: runlog.KindGeneration, Message: g.Reason, Iteration: g.After, Generation: g.Number})
}

// iteration records one; rate is in training images a second.
func (r *record) iteration(w *entry, rate float64) error {
	m := w.record
	it := runlog.Iteration{Iteration: m.GetIteration(), Loss: m.GetLoss(), Accuracy: float64(m.GetCorrect()) / float64(max(1, r.batch)), LR: m.GetLr(),
		Seconds: m.GetSeconds(), ImagesPerSecond: rate, Generation: m.GetGeneration(), LabelsSHA256: w.labels,
		LabelWaitSeconds: m.GetLabelWaitSeconds(), ExchangeWaitSeconds: m.GetExchangeWaitSeconds()}
	r.learn(it)
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Iteration{Iteration: m}})
	return r.log.Iteration(it)
}

func (r *record) evaluation(v *ditherv1.Evaluation) error {
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Evaluation{Evaluation: v}})
	r.measured(v)
	e := runlog.Event{Kind: runlog.KindEvaluation, Iteration: v.GetIteration(), Split: v.GetKind(), Images: int(v.GetImages())}
	loss, accuracy, norm, images := v.GetLoss(), v.GetAccuracy(), v.GetGradientNorm(), int(v.GetImages())
	if v.GetKind() == "gradient_norm" {
		e.Split, e.GradientNorm = "train", &norm
		e.Message = fmt.Sprintf("gradient norm %.6g over %d training images", norm, images)
		return r.log.Event(e)
	}
	e.Loss, e.Accuracy = &loss, &accuracy
	e.Message = fmt.Sprintf("%s accuracy %.4f, loss %.6g over %d images", v.GetKind(), accuracy, loss, images)
	return r.log.Event(e)
}

// measured keeps an evaluation for the result.
func (r *record) measured(v *ditherv1.Evaluation) {
	loss, accuracy, norm, images := v.GetLoss(), v.GetAccuracy(), v.GetGradientNorm(), int(v.GetImages())
	switch v.GetKind() {
	case "gradient_norm":
		r.result.GradientNorm, r.result.GradientNormImages = &norm, &images
	case "test":
		r.result.TestAccuracy, r.result.TestLoss = &accuracy, &loss
	default:
		r.result.ValidationAccuracy = &accuracy
	}
}

func (r *record) checkpoint(k uint32) error {
	r.show(&ditherv1.WatchResponse{Event: &ditherv1.WatchResponse_Checkpoint{Checkpoint: relative(k)}})
	return r.log.Event(runlog.Event{Kind: runlog.KindCheckpoint, Message: "a checkpoint is on disk", Iteration: k, Path: relative(k)})
}

// end writes result.json. Whoever watches learns of the result even where it cannot be written.
func (r *record) end(m *ditherv1.RunResult, rate float64) error {
	res := r.result
	res.Phase, res.Diverged, res.Reason, res.Iterations = m.GetPhase(), m.GetDiverged(), m.GetReason(), m.GetIteration()
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
