package coordinator

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// pair is a run of two trainers that have applied three iterations.
func pair(t *testing.T) (w *cluster, a, b *fakeTrainer) {
	t.Helper()
	w = start(t, configFor(t.TempDir(), 2))
	a, b = w.join("a"), w.join("b")
	a.begin()
	b.begin()
	for k := uint32(1); k <= 3; k++ {
		a.apply(a.record(k))
		b.apply(b.record(k))
	}
	eventually(t, w, func(s *ditherv1.StatusResponse) bool {
		return s.GetMembers()[0].GetIterations() == 3 && s.GetMembers()[1].GetIterations() == 3
	})
	return w, a, b
}

func TestTrainersThatDisagree(t *testing.T) {
	for name, c := range map[string]struct {
		act   func(a, b *fakeTrainer)
		words []string
	}{
		"loss": {func(a, b *fakeTrainer) {
			a.apply(a.record(4))
			r := b.record(4)
			r.Loss += 1e-12
			b.apply(r)
		}, []string{"the trainers disagree at iteration 4: the loss is 0.25", "a (host:a) and b (host:b)"}},
		"correct": {func(a, b *fakeTrainer) {
			b.apply(b.record(4))
			r := a.record(4)
			r.Correct++
			a.apply(r)
		}, []string{"disagree at iteration 4: 5 and 4 samples were right (a (host:a) and b (host:b))"}},
		"learning rate": {func(a, b *fakeTrainer) {
			a.apply(a.record(4))
			r := b.record(4)
			r.Lr = 0.2
			b.apply(r)
		}, []string{"the learning rate is 0.1 and 0.2"}},
		"soft labels": {func(a, b *fakeTrainer) {
			a.apply(a.record(4))
			r := b.record(4)
			r.LabelDigests = nil
			b.apply(r)
		}, []string{"one had soft labels, one had none"}},
		"an iteration left out": {func(a, b *fakeTrainer) { b.apply(b.record(5)) }, []string{"trainer b (host:b) reported iteration 5 where iteration 4 is due"}},
		"another's shards": {func(a, b *fakeTrainer) {
			r := b.record(4)
			r.FirstShard = 1
			b.apply(r)
		}, []string{"b (host:b) computed shards [1,4) of iteration 4, and [2,4) are its own"}},
		"too few digests": {func(a, b *fakeTrainer) {
			r := b.record(4)
			r.LabelDigests = r.LabelDigests[1:]
			b.apply(r)
		}, []string{"1 label digests for its 2 shards"}},
		"an image twice": {func(a, b *fakeTrainer) {
			a.part(ditherv1.PartKind_PART_KIND_TEST, 3, 0, 3, 1, 1, 1, 1)
			a.part(ditherv1.PartKind_PART_KIND_TEST, 3, 1, 3, 1, 1, 1, 1)
		}, []string{"trainer a (host:a): the evaluation of test after iteration 3: images 1 to 2 came twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := pair(t)
			eventually(t, w, func(s *ditherv1.StatusResponse) bool {
				return s.GetMembers()[0].GetIterations() == 3 && s.GetMembers()[1].GetIterations() == 3
			})
			go c.act(a, b)
			for _, f := range []*fakeTrainer{a, b} {
				f.ordered()
			}
			a.finish(3, paramsA, true)
			b.finish(3, paramsA, true)
			r := w.ends("failed", "this is a defect of dither")
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
	for k := uint32(4); k <= iterations; k++ {
		a.apply(a.record(k))
		b.apply(b.record(k))
	}
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
	for k := uint32(1); k <= iterations; k++ {
		a.apply(a.record(k))
	}
	a.part(ditherv1.PartKind_PART_KIND_TEST, iterations, 0, 5, 1, 1, 1, 1)
	a.part(ditherv1.PartKind_PART_KIND_TEST, iterations, 4, 5, 1, 1)
	a.finish(iterations, paramsA, false)
	w.ends("finished", "the evaluation of test after iteration 20 lacks 2 of 5 images, from image 2")
	a.bye()
}

func TestATrainerThatDies(t *testing.T) {
	t.Run("its connection", func(t *testing.T) {
		w, a, b := pair(t)
		if err := b.conn.Close(); err != nil {
			t.Fatal(err)
		}
		if why := a.ordered(); !strings.Contains(why, "trainer b (host:b) left generation 1 at iteration") {
			t.Errorf("ordered to stop because %q", why)
		}
		a.finish(3, paramsA, true)
		if r := w.ends("failed", "trainer b (host:b) left generation 1", "its connection to the coordinator broke"); !r.GetTemporary() || r.GetParametersSha256() != paramsA || r.GetIteration() != 3 {
			t.Errorf("%v", r)
		}
		a.bye()
	})
	t.Run("its lease", func(t *testing.T) {
		w, a, b := pair(t)
		a.fail(3, "the stream to b broke", false) // what a sees of it comes in first
		w.etcd.Stall("r", "b")
		w.etcd.Advance(10 * time.Second)
		if r := w.ends("failed", "trainer b (host:b) left generation 1 at iteration 3: its etcd lease ended"); !r.GetTemporary() {
			t.Errorf("%v", r)
		}
		a.bye()
		_ = b.conn.Close()
	})
	t.Run("in silence", func(t *testing.T) {
		w, a, b := pair(t)
		b.bye()
		a.ordered()
		a.fail(3, "stopped", false)
		w.ends("failed", "trainer b (host:b) left generation 1")
		a.bye()
	})
	t.Run("with a reason", func(t *testing.T) {
		w, a, b := pair(t)
		b.fail(3, "iteration 4, shard 2: the loss is NaN; lower --lr", true)
		if why := a.ordered(); !strings.Contains(why, "the loss is NaN") {
			t.Errorf("ordered to stop because %q", why)
		}
		a.finish(3, paramsA, true)
		if r := w.ends("failed", "trainer b (host:b): iteration 4, shard 2: the loss is NaN; lower --lr"); r.GetTemporary() {
			t.Error("a NaN is called temporary")
		}
		a.bye()
		b.bye()
		if rec, err := runlog.Read(w.c.config.Dir); err != nil || rec.Result.Phase != "failed" || !strings.Contains(rec.Result.Reason, "NaN") {
			t.Errorf("the record: %+v, %v", rec, err)
		}
	})
}

func TestATeacherThatDies(t *testing.T) {
	config := configFor(t.TempDir(), 1)
	config.NeedTeacher = true
	w := start(t, config)
	l := w.teacher("l")
	a := w.join("a").begin()
	a.apply(a.record(1))
	eventually(t, w, func(s *ditherv1.StatusResponse) bool { return s.GetIteration() == 1 })
	if err := l.Leave(w.ctx); err != nil {
		t.Fatal(err)
	}
	a.ordered()
	a.finish(1, paramsA, true)
	w.ends("failed", "teacher-logit service l (host:0) left generation 1 at iteration 1: its etcd lease ended")
	a.bye()
}

// A trainer that hears nothing any more is waited for with patience, and with an end.
func TestASurvivorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b := pair(t)
		synctest.Wait()
		a.fail(3, "its disk is full", false)
		began := time.Now()
		w.ends("failed", "trainer a (host:a): its disk is full; b did not stop within 1m0s")
		if waited := time.Since(began); waited < patience || waited > patience+time.Second {
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

// The record is closed under the coordinator's hands, as a disk that is full would have it.
func TestARecordThatCannotBeWritten(t *testing.T) {
	w, a, b := pair(t)
	if err := w.c.record.log.Close(); err != nil {
		t.Fatal(err)
	}
	a.apply(a.record(4))
	b.apply(b.record(4))
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

func TestALostLead(t *testing.T) {
	w, a, b := pair(t)
	w.etcd.Stall("r", w.c.Address())
	w.etcd.Advance(10 * time.Second)
	for _, f := range []*fakeTrainer{a, b} {
		if why := f.ordered(); !strings.Contains(why, `no longer leads run "r"`) {
			t.Errorf("told %q", why)
		}
		f.finish(3, paramsA, true)
	}
	w.ends("failed", "its lease in the etcd")
	a.bye()
	b.bye()
}

func TestASecondCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, configFor(t.TempDir(), 1))
		began := time.Now()
		if _, err := launch(t, configFor(t.TempDir(), 1), w.etcd); err == nil || !strings.Contains(err.Error(), `run "r" already has a coordinator at bufconn: stop that one`) {
			t.Errorf("a second coordinator: %v", err)
		}
		if waited := time.Since(began); waited != 12*time.Second {
			t.Errorf("waited %v", waited)
		}
		// One that died without a word is followed by the next once its lease ends.
		crash := w.etcd
		w.etcd.Stall("r", "bufconn")
		time.AfterFunc(5*time.Second, func() { crash.Advance(10 * time.Second) })
		next, err := launch(t, configFor(t.TempDir(), 1), w.etcd)
		if err != nil {
			t.Fatal(err)
		}
		end(t, w)
		end(t, next)
	})
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
