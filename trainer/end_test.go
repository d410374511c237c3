package trainer

import (
	"errors"
	"strings"
	"testing"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

func TestAStoppedRunGoesOnToTheSameBits(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(3)
		w.change(func() { w.tellAll(&ditherv1.ReportResponse{Stop: true, Reason: "a user asks"}) })
		for _, p := range []*process{a, b} {
			if <-p.done; !errors.Is(p.err, ErrStopped) {
				t.Errorf("%s ends with %v", p.id, p.err)
			}
		}
		k := w.finished["trainer-0"].GetIteration()
		if k >= runIterations || !w.finished["trainer-0"].GetStopped() || w.finished["trainer-1"].GetIteration() != k {
			t.Fatalf("the last words are %v", w.finished)
		}
		saved, err := checkpoint.Decode(w.checkpoint)
		if err != nil || saved.Meta.Iteration != k || Hex(saved.Hash()) != w.finished["trainer-0"].GetParametersSha256() {
			t.Fatalf("the checkpoint is after iteration %d, not %d (%v)", saved.Meta.Iteration, k, err)
		}
		c, d, e := w.start("trainer-0"), w.start("trainer-1"), w.start("trainer-2")
		w.joins(3)
		w.form(false, c, d, e)
		if got := w.ends(c, d, e); got != want {
			t.Errorf("stopped after %d and resumed, the run ends with %s; in one go with %s", k, got, want)
		}
		// A whole run served again has nothing left to do, and says so.
		f := w.start("trainer-0")
		w.joins(1)
		w.form(false, f)
		if got := w.ends(f); got != want {
			t.Errorf("a run that is over ends with %s when served again", got)
		}
	})
}

func TestStopAfter(t *testing.T) {
	bubble(t, func(r *ditherv1.GetRunResponse) { r.Options.StopAfter = 3 }, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		for _, p := range []*process{a, b} {
			if <-p.done; !errors.Is(p.err, ErrStopped) || w.finished[p.id].GetIteration() != 3 {
				t.Errorf("%s ends after iteration %d with %v", p.id, w.finished[p.id].GetIteration(), p.err)
			}
		}
	})
}

// TestALastWordIsSaidAgain loses a trainer that has evaluated nothing after the last iteration.
func TestALastWordIsSaidAgain(t *testing.T) {
	want, evaluations := quiet(t, 1)
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		b.trainer.Work = &mute{b.trainer.Work.(*Share)}
		w.form(false, a, b)
		w.await("one says its last word", func() bool { return w.finished["trainer-0"] != nil })
		b.kill()
		w.form(false, a)
		if got := w.ends(a); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		for key, v := range w.evaluations() {
			if evaluations[key] != v {
				t.Errorf("%s is %s, of the quiet run %s", key, v, evaluations[key])
			}
		}
	})
}

// mute is a Share that never ends its last evaluation.
type mute struct{ *Share }

func (m *mute) Evaluate(c Cut) ([]*ditherv1.Part, error) {
	if m.applied < runIterations {
		return m.Share.Evaluate(c)
	}
	for {
		if err := c.Between(); err != nil {
			return nil, err
		}
		time.Sleep(pace)
	}
}

func TestDivergenceIsSaidByAll(t *testing.T) {
	bubble(t, func(r *ditherv1.GetRunResponse) { r.Spec.Optimizer.Lr = 1e30 }, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		for _, p := range []*process{a, b} {
			if <-p.done; !errors.Is(p.err, ErrDiverged) {
				t.Errorf("a diverging trainer ends with %v", p.err)
			}
		}
		failures := reported(w, "", (*ditherv1.ReportRequest).GetFailure)
		if len(failures) != 2 || !failures[0].GetDeterministic() || !failures[0].GetDiverged() || !strings.Contains(failures[0].GetMessage(), "--lr") {
			t.Errorf("the failures are %v", failures)
		}
	})
}

func TestADismissalEndsATrainer(t *testing.T) {
	for _, c := range []struct {
		answer *ditherv1.ReportResponse
		want   error
	}{
		{&ditherv1.ReportResponse{Over: true, Reason: "the run failed"}, ErrOver},
		{&ditherv1.ReportResponse{Over: true, Refused: true, Reason: "another version"}, ErrRefused},
	} {
		bubble(t, nil, func(w *world) {
			a := w.start("trainer-0")
			w.await("it says hello", func() bool { return len(reported(w, "", (*ditherv1.ReportRequest).GetHello)) == 1 })
			w.change(func() { w.tellAll(c.answer) })
			if <-a.done; !errors.Is(a.err, c.want) || !strings.Contains(a.err.Error(), c.answer.GetReason()) {
				t.Errorf("after %v it ends with %v", c.answer, a.err)
			}
		})
	}
}

func TestWhatIsNotTheRunsIsRefused(t *testing.T) {
	computing := func(run, trainer string) func(*ditherv1.GetRunResponse, *ditherv1.Member) {
		return func(r *ditherv1.GetRunResponse, m *ditherv1.Member) {
			r.Spec.Arithmetic, m.Arithmetic = run, trainer
			r.SpecSha256 = ditherv1.Hash(r.Spec)
		}
	}
	for what, c := range map[string]struct {
		spoil func(*ditherv1.GetRunResponse, *ditherv1.Member)
		says  string
	}{
		"precision, of a processor": {computing("cuda-bf16/1-sm90", "cpu/2"), "the run is in arithmetic cuda-bf16/1-sm90 and kernel set generic computes in cpu/2; the run is in bf16, which needs --kernels cuda"},
		"precision, of a GPU":       {computing("cpu/2", "cuda-bf16/1-sm90"), "computes in cuda-bf16/1-sm90; choose another with --kernels"},
		"GPU's compute capability":  {computing("cuda-bf16/1-sm90", "cuda-bf16/1-sm80"), "computes in cuda-bf16/1-sm80; bf16 has the same bits only on GPUs of one compute capability: use such a GPU as the run began on"},
		"spec":                      {func(r *ditherv1.GetRunResponse, _ *ditherv1.Member) { r.SpecSha256 = strings.Repeat("a", 64) }, "aaaaaaaaaaaa"},
		"arithmetic":                {func(_ *ditherv1.GetRunResponse, m *ditherv1.Member) { m.Arithmetic = "cuda/1" }, "computes in cuda/1; choose another with --kernels"},
		"training images":           {func(_ *ditherv1.GetRunResponse, m *ditherv1.Member) { m.TrainSha256 = "b" }, "training images here are not the run's"},
		"test images":               {func(_ *ditherv1.GetRunResponse, m *ditherv1.Member) { m.TestSha256 = "b" }, "test images here are not the run's"},
	} {
		w := newWorld(t, nil)
		m := &ditherv1.Member{Id: "trainer-0", KernelSet: "generic", Arithmetic: "cpu/2", TrainSha256: w.data.Train.Hash(), TestSha256: w.data.Test.Hash()}
		c.spoil(w.run, m)
		if _, err := New(Config{Member: m, Run: w.run}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("another %s: %v", what, err)
		}
	}
}
