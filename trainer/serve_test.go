package trainer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnyNumberOfTrainersEndsWithTheSameBits(t *testing.T) {
	want, evaluations := quiet(t, 1)
	if len(evaluations) != 7 { // test and validation after two epochs of 4 and at the end, and the gradient norm
		t.Errorf("the evaluations are %v", evaluations)
	}
	for n := 2; n <= 4; n++ {
		got, others := quiet(t, n)
		if got != want {
			t.Errorf("%d trainers end with %s, one with %s", n, got, want)
		}
		for key, v := range evaluations {
			if others[key] != v {
				t.Errorf("%d trainers evaluate %s to %s, one to %s", n, key, others[key], v)
			}
		}
	}
}

// TestALostTrainerCostsTheIterationInFlight kills a trainer while the others wait for its part of an iteration.
func TestALostTrainerCostsTheIterationInFlight(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		held := make(chan struct{})
		w.take = func(ctx context.Context, id string, k uint32) error {
			if id == "trainer-1" && k == 6 {
				close(held)
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		a, b, c := w.start("trainer-0"), w.start("trainer-1"), w.start("trainer-2")
		w.joins(3)
		w.form(false, a, b, c)
		<-held
		b.kill()
		w.await("both others say what broke", func() bool { return len(reported(w, "", (*ditherv1.ReportRequest).GetAborted)) == 2 })
		var lost []string
		for _, x := range reported(w, "", (*ditherv1.ReportRequest).GetAborted) {
			lost = append(lost, x.GetLost()...) // not by who heard of it from the other first
			if x.GetGeneration() != 1 || x.GetIteration() != 6 || len(x.GetLabelDigests()) == 0 || x.GetReason() == "" {
				t.Errorf("what broke is %v", x)
			}
		}
		if lost = slices.Compact(lost); !slices.Equal(lost, []string{"trainer-1"}) {
			t.Errorf("the lost are said to be %v", lost)
		}
		w.form(false, a, c)
		if got := w.ends(a, c); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		w.recordsAreWhole()
		w.evaluations()
		// The digests of the first try are those of the second.
		for _, x := range reported(w, "", (*ditherv1.ReportRequest).GetAborted) {
			for _, r := range reported(w, "", (*ditherv1.ReportRequest).GetIteration) {
				if from := x.GetFirstShard(); r.GetIteration() == x.GetIteration() && !slices.Equal(r.GetLabelDigests()[from:int(from)+len(x.GetLabelDigests())], x.GetLabelDigests()) {
					t.Errorf("iteration %d had the labels %v in shards from %d, and then %v", r.GetIteration(), x.GetLabelDigests(), from, r.GetLabelDigests())
				}
			}
		}
	})
}

func TestAJoinerKeepsLevelAndIsTakenIn(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(2)
		c := w.start("trainer-2")
		w.level("trainer-2", 5)
		w.form(true, a, b, c)
		if got := w.ends(a, b, c); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		w.turnsInOrder()
		w.recordsAreWhole()
		w.evaluations()
	})
}

func TestALeaverLetsTheOthersGoOn(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(3)
		close(a.drain)
		w.await("trainer-0 says that it leaves", func() bool { return len(reported(w, "trainer-0", (*ditherv1.ReportRequest).GetLeaving)) == 1 })
		w.form(true, b)
		if <-a.done; !errors.Is(a.err, ErrLeft) {
			t.Errorf("the leaver ends with %v", a.err)
		}
		if got := w.ends(b); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		w.turnsInOrder()
		w.recordsAreWhole()
	})
}

func TestTheLastToLeaveSavesTheState(t *testing.T) {
	bubble(t, nil, func(w *world) {
		a := w.start("trainer-0")
		w.joins(1)
		w.form(false, a)
		w.reach(5)
		close(a.drain)
		if <-a.done; !errors.Is(a.err, ErrLeft) {
			t.Errorf("the leaver ends with %v", a.err)
		}
		saved, err := checkpoint.Decode(w.checkpoint)
		if err != nil || saved.Meta.Iteration != w.have {
			t.Errorf("the checkpoint is after iteration %d of %d (%v)", saved.Meta.Iteration, w.have, err)
		}
	})
}

func TestALeaverThatNobodyHearsGoesAfterItsGrace(t *testing.T) {
	bubble(t, func(r *ditherv1.GetRunResponse) { r.Spec.Iterations = 100000 }, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(3)
		began := time.Now()
		close(a.drain)
		if <-a.done; !errors.Is(a.err, ErrLeft) || time.Since(began) < defaultGrace || time.Since(began) > defaultGrace+rescue {
			t.Errorf("after %v the leaver ends with %v", time.Since(began), a.err)
		}
		b.kill()
	})
}

func TestAJoinerTakesDamagedBytesFromNobody(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		w.corrupt = "trainer-0"
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(2)
		c := w.start("trainer-2")
		w.level("trainer-2", 5)
		w.form(true, a, b, c)
		if got := w.ends(a, b, c); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
	})
}

func TestTrainingGoesOnWithoutACoordinator(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(3)
		w.change(func() {
			w.down = true
			a.conn.snap()
			b.conn.snap()
		})
		time.Sleep(20 * time.Second) // the run's end, and a last word that nobody takes
		for _, p := range []*process{a, b} {
			select {
			case <-p.done:
				t.Fatalf("%s ends with %v while nobody took its last word", p.id, p.err)
			default:
			}
		}
		w.change(func() { w.down = false })
		if got := w.ends(a, b); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		if w.have != runIterations {
			t.Errorf("%d iterations are on record", w.have)
		}
		w.recordsAreWhole()
		w.evaluations()
		if saved, err := checkpoint.Decode(w.checkpoint); err != nil || saved.Meta.Iteration != runIterations {
			t.Errorf("the last checkpoint is %v (%v)", saved, err)
		}
	})
}

// TestWhoHasSaidAllEndsWhereNoCoordinatorComesBack: the first rank, who is to have the state saved, waits on.
func TestWhoHasSaidAllEndsWhereNoCoordinatorComesBack(t *testing.T) {
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(3)
		w.change(func() {
			w.down = true
			a.conn.snap()
			b.conn.snap()
		})
		began := time.Now()
		if <-b.done; b.err != nil || time.Since(began) < farewell || time.Since(began) > farewell+2*rescue {
			t.Errorf("after %v the second rank ends with %v", time.Since(began), b.err)
		}
		time.Sleep(10 * farewell)
		select {
		case <-a.done:
			t.Errorf("the first rank ends with %v and its state is lost", a.err)
		default:
		}
		w.change(func() { w.down = false })
		w.await("the first rank says its last word", func() bool { return w.finished["trainer-0"] != nil })
		w.change(func() { w.tellAll(&ditherv1.ReportResponse{Over: true}) })
		if w.ends(a); w.checkpoint == nil {
			t.Error("the last state was not saved")
		}
	})
}

// splits is a Share that breaks off one iteration after the others have its sums, and before its commit.
type splits struct {
	*Share
	at uint32
}

func (s *splits) Iterate(r *allreduce.Reducer, k uint32, soft []float32, wanted func() bool, record *ditherv1.IterationRecord) (bool, error) {
	if k != s.at {
		return s.Share.Iterate(r, k, soft, wanted, record)
	}
	s.at = 0
	s.digest(soft)
	if err := s.input(k, soft); err != nil {
		return false, err
	}
	r.Begin(k)
	s.clock = clocked{Reducer: r}
	losses, correct, err := s.program.Step(&s.clock)
	if err == nil {
		err = s.exchangeMetrics(&s.clock, losses, correct, 0, false)
	}
	return false, errors.Join(err, fmt.Errorf("%w: before the commit", ErrBroken))
}

// The one that breaks off has sent the samples of the next iteration by then, where it works apart.
func TestASplitCommitIsSettledByTheGreatest(t *testing.T) {
	for apart := range 1 + len(kerneltest.Orders()) {
		t.Run(fmt.Sprint("apart ", apart), func(t *testing.T) { splitCommit(t, apart) })
	}
}

func splitCommit(t *testing.T, apart int) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		w.apart = apart
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		a.trainer.Work = &splits{a.trainer.Work.(*Share), 6} // which gets the last sum from the other
		w.form(false, a, b)
		w.await("both say what broke", func() bool { return len(reported(w, "", (*ditherv1.ReportRequest).GetAborted)) == 2 })
		at := map[string]uint32{}
		for _, id := range []string{"trainer-0", "trainer-1"} {
			at[id] = reported(w, id, (*ditherv1.ReportRequest).GetAborted)[0].GetIteration()
		}
		if at["trainer-0"] != 6 || at["trainer-1"] != 7 {
			t.Fatalf("the trainers broke off at %v", at)
		}
		w.form(false, a, b)
		if got := w.ends(a, b); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		w.recordsAreWhole()
	})
}

func TestALostLeaseIsJoinedAgain(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
		a, b := w.start("trainer-0"), w.start("trainer-1")
		w.joins(2)
		w.form(false, a, b)
		w.reach(3)
		w.mu.Lock()
		lost := b.lost
		w.mu.Unlock()
		close(lost)
		w.await("it has joined again", func() bool { return b.lost != lost })
		w.await("the others notice", func() bool { return len(reported(w, "", (*ditherv1.ReportRequest).GetAborted)) == 2 })
		w.form(false, a)
		w.level("trainer-1", 7)
		w.form(true, a, b)
		if got := w.ends(a, b); got != want {
			t.Errorf("the run ends with %s, the quiet one with %s", got, want)
		}
		w.recordsAreWhole()
	})
}

// turnsInOrder: a planned generation breaks no exchange. One that hears of it later than another may have begun the next iteration, and does that again.
func (w *world) turnsInOrder() {
	w.t.Helper()
	for _, broke := range reported(w, "", (*ditherv1.ReportRequest).GetAborted) {
		if len(broke.GetLost()) > 0 || !strings.Contains(broke.GetReason(), "it closed before") {
			w.t.Errorf("a planned generation broke an iteration: %v", broke)
		}
	}
}
