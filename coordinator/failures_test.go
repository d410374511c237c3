package coordinator

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// pair is a run of two trainers that have applied three iterations.
func pair(t *testing.T) (w *cluster, a, b *fakeTrainer) {
	t.Helper()
	return pairOf(t, configFor(t.TempDir(), 2))
}

func pairOf(t *testing.T, config Config) (w *cluster, a, b *fakeTrainer) {
	t.Helper()
	w = start(t, config)
	a, b = w.join("a"), w.join("b")
	a.begin()
	b.begin()
	a.train(1, 3)
	b.applied(3)
	eventually(t, w, func(s *ditherv1.StatusResponse) bool {
		return s.GetMembers()[0].GetIterations() == 3 && s.GetMembers()[1].GetIterations() == 3
	})
	return w, a, b
}

func TestTrainersThatDisagree(t *testing.T) {
	const defect = "this is a defect of dither"
	const doubt = "the teacher-logit service or the noise does not answer the same question in the same way; check it with `dither noise check`"
	again := func(a, b *fakeTrainer, change func(*ditherv1.IterationRecord)) {
		a.apply(a.record(4))
		r := b.record(4)
		change(r)
		b.apply(r)
	}
	other := digests(4)
	other[2] = "feedfeedfeedfeed"
	for name, c := range map[string]struct {
		act   func(a, b *fakeTrainer)
		words []string // any order of arrival gives one of them
		why   string
	}{
		"loss": {func(a, b *fakeTrainer) { again(a, b, func(r *ditherv1.IterationRecord) { r.Loss += 1e-12 }) },
			[]string{"the trainers disagree at iteration 4: the loss is 0.25 and 0.250000000001 (a (host:a) and b (host:b))", "(b (host:b) and a (host:a))"}, defect},
		"correct": {func(a, b *fakeTrainer) { again(a, b, func(r *ditherv1.IterationRecord) { r.Correct++ }) },
			[]string{"disagree at iteration 4: 4 and 5 samples were right", "5 and 4 samples were right"}, defect},
		"learning rate": {func(a, b *fakeTrainer) { again(a, b, func(r *ditherv1.IterationRecord) { r.Lr = 0.2 }) },
			[]string{"the learning rate is 0.1 and 0.2", "0.2 and 0.1"}, defect},
		"soft labels or none": {func(a, b *fakeTrainer) { again(a, b, func(r *ditherv1.IterationRecord) { r.LabelDigests = nil }) },
			[]string{"one had soft labels, one had none"}, defect},
		"soft labels": {func(a, b *fakeTrainer) {
			again(a, b, func(r *ditherv1.IterationRecord) { r.LabelDigests, r.Loss = other, 7 })
		}, []string{"the noisy soft labels of iteration 4, shard 2, are not those of the first try (0000000400000002 from a (host:a), feedfeedfeedfeed from b (host:b))", "(feedfeedfeedfeed from b (host:b), 0000000400000002 from a (host:a))"}, doubt},
		"soft labels of a first try": {func(a, b *fakeTrainer) { b.abort(1, 4, other[2:], "a"); a.apply(a.record(4)) },
			[]string{"iteration 4, shard 2, are not those of the first try"}, doubt},
		"a beat's loss": {func(a, b *fakeTrainer) {
			a.apply(a.record(4))
			b.beat(func(at *ditherv1.Beat) { at.Iteration, at.Loss = 4, 3 })
		}, []string{"the loss is 0.25 and 3 (a (host:a) and b (host:b))"}, defect},
		"an image twice": {func(a, b *fakeTrainer) {
			a.part(ditherv1.PartKind_PART_KIND_TEST, 3, 0, 3, 1, 1, 1, 1)
			a.part(ditherv1.PartKind_PART_KIND_TEST, 3, 1, 3, 2, 1, 1, 1)
		}, []string{"trainer a (host:a): the evaluation of test after iteration 3: image 1 came twice with other numbers: 1 and 2"}, defect},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := pair(t)
			c.act(a, b)
			for _, f := range []*fakeTrainer{a, b} {
				if why := f.ordered(); !strings.Contains(why, c.why) {
					t.Errorf("ordered to stop because %q", why)
				}
			}
			a.finish(3, paramsA, true)
			b.finish(3, paramsA, true)
			r := w.ends("failed", c.why)
			found := false
			for _, word := range c.words {
				found = found || strings.Contains(r.GetReason(), word)
			}
			if !found || r.GetTemporary() {
				t.Errorf("reason %q, temporary %v, without any of %q", r.GetReason(), r.GetTemporary(), c.words)
			}
			a.bye()
			b.bye()
		})
	}
}

func TestDifferentParameters(t *testing.T) {
	w, a, b := pair(t)
	a.train(4, iterations)
	b.applied(iterations)
	a.finish(iterations, paramsA, false)
	b.finish(iterations, paramsB, false)
	if r := w.ends("failed", "a (host:a) has sha256:"+paramsA+" after iteration 20", "b (host:b) has sha256:"+paramsB); r.GetParametersSha256() != "" {
		t.Errorf("parameters %q", r.GetParametersSha256())
	}
	a.bye()
	b.bye()
}

func TestAnEvaluationThatIsNotWhole(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	a := w.join("a").begin()
	a.train(1, iterations)
	a.part(ditherv1.PartKind_PART_KIND_TEST, iterations, 0, 5, 1, 1, 1, 1)
	a.part(ditherv1.PartKind_PART_KIND_TEST, iterations, 4, 5, 1, 1)
	a.finish(iterations, paramsA, false)
	w.ends("finished", "the evaluation of test after iteration 20 lacks 2 of 5 images, from image 2")
	a.bye()
}

func TestATrainerThatFailsForGood(t *testing.T) {
	w, a, b := pair(t)
	b.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Failure{Failure: &ditherv1.Failure{Message: "iteration 4, shard 2: the loss is NaN; lower --lr", Iteration: 3, Deterministic: true, Diverged: true}}})
	if why := a.ordered(); !strings.Contains(why, "the loss is NaN") {
		t.Errorf("ordered to stop because %q", why)
	}
	a.finish(3, paramsA, true)
	if r := w.ends("failed", "trainer b (host:b): iteration 4, shard 2: the loss is NaN; lower --lr"); r.GetTemporary() || !r.GetDiverged() {
		t.Errorf("a NaN is called temporary (%v), or not diverged (%v)", r.GetTemporary(), r.GetDiverged())
	}
	a.bye()
	b.bye()
	if rec, err := runlog.Read(w.c.config.Dir); err != nil || rec.Result.Phase != "failed" || !rec.Result.Diverged || !strings.Contains(rec.Result.Reason, "NaN") {
		t.Errorf("the record: %+v, %v", rec, err)
	}
}

// A trainer that hears nothing any more is waited for with patience, and with an end.
func TestASurvivorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b := pair(t)
		synctest.Wait()
		a.fail(3, "its disk is mad", true)
		began := time.Now()
		w.ends("failed", "trainer a (host:a): its disk is mad; b did not stop within 1m0s")
		// It is looked at a few times in an hour of silence only.
		if waited := time.Since(began); waited < patience || waited > patience+time.Hour/looks {
			t.Errorf("waited %v", waited)
		}
		end(t, w, a, b)
	})
}

// end closes everything inside a bubble.
func end(t *testing.T, w *cluster, trainers ...*fakeTrainer) {
	t.Helper()
	for _, f := range trainers {
		_ = f.conn.Close()
	}
	if err := w.c.Close(); err != nil {
		t.Error(err)
	}
	_ = w.wire.Close()
}

// Once a checkpoint has nowhere to go, nobody is waited for.
func TestADiskThatIsFullWhileTheyTrain(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *cluster, all []*fakeTrainer, _ []context.CancelFunc) {
		w.term().store.full = func(to io.Writer) io.Writer { return &fullDisk{to, 3} }
		began := time.Now()
		_, err := all[0].put(3, []byte("three"), nil)
		refused(t, err, codes.ResourceExhausted, "no space is left for its 5 bytes")
		if why := all[0].ordered(); !strings.Contains(why, "free some space and resume the run") {
			t.Errorf("ordered to stop because %q", why)
		}
		if r := w.ends("failed", "no space is left"); !r.GetTemporary() {
			t.Errorf("%v", r)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("waited %v", waited)
		}
		all[0].over()
	})
}

// The record is closed under the coordinator's hands, as a disk that is full would have it.
func TestARecordThatCannotBeWritten(t *testing.T) {
	w, a, b := pair(t)
	if err := w.term().record.log.Close(); err != nil {
		t.Fatal(err)
	}
	a.apply(a.record(4))
	if why := b.ordered(); !strings.Contains(why, "the record of the run in "+w.c.config.Dir+" cannot be written") {
		t.Errorf("told %q", why)
	}
	a.finish(4, paramsA, true)
	b.finish(4, paramsA, true)
	w.ends("failed", "cannot be written", "see to the folder and resume the run")
	a.bye()
	b.bye()
	if _, err := os.Stat(filepath.Join(w.c.config.Dir, "result.json")); err != nil {
		t.Error(err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if r, err := w.c.Wait(ctx); r != nil || err == nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestStartsThatCannotBe(t *testing.T) {
	if _, err := launch(t, configFor(t.TempDir(), 5), membership.NewFake()); err == nil || !strings.Contains(err.Error(), "5 trainers for 4 shards") {
		t.Errorf("five trainers for four shards: %v", err)
	}
	config := configFor(t.TempDir(), 1)
	if err := os.WriteFile(filepath.Join(config.Dir, "metrics.jsonl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := launch(t, config, membership.NewFake()); err == nil || !strings.Contains(err.Error(), "holds a run already") {
		t.Errorf("a folder with a run: %v", err)
	}
}
