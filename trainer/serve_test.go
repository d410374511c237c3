package trainer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in a bubble of its own, where a wait takes no time.
func bubble(t *testing.T, change func(*ditherv1.GetRunResponse), f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		t.Cleanup(func() { // where the test failed: a bubble whose trainers go on never ends
			for _, p := range w.processes {
				p.kill()
			}
		})
		f(w)
	})
}

// reach waits until iteration k is on record.
func (w *world) reach(k uint32) {
	w.t.Helper()
	w.await(fmt.Sprintf("iteration %d is on record", k), func() bool { return w.have >= k })
}

// joins waits until so many trainers are known.
func (w *world) joins(n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d trainers are known", n), func() bool { return len(w.joined) == n })
}

// reported are those of a trainer's reports that are wanted, oldest first; of all trainers where id is empty. It holds the lock, or nobody else is there.
func reported[T any](w *world, id string, of func(*ditherv1.ReportRequest) *T) (all []*T) {
	for _, r := range w.reports {
		if v := of(r); v != nil && (id == "" || r.GetId() == id) {
			all = append(all, v)
		}
	}
	return all
}

// level waits until an outsider has the state after iteration k.
func (w *world) level(id string, k uint32) {
	w.t.Helper()
	w.await(fmt.Sprintf("%s has the state after iteration %d", id, k), func() bool {
		beats := reported(w, id, (*ditherv1.ReportRequest).GetBeat)
		return len(beats) > 0 && beats[len(beats)-1].GetHasState() && beats[len(beats)-1].GetIteration() >= k
	})
}

// ends waits for trainers to end well, and gives the parameters hash on which all agree.
func (w *world) ends(ps ...*process) string {
	w.t.Helper()
	late := time.After(10 * time.Minute)
	for _, p := range ps {
		select {
		case <-p.done:
		case <-late:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.t.Fatalf("%s does not end; the last reports are %v", p.id, w.reports[max(0, len(w.reports)-5):])
		}
		if p.err != nil {
			w.t.Fatalf("%s ends with %v", p.id, p.err)
		}
	}
	sum := w.finished[ps[0].id].GetParametersSha256()
	for _, p := range ps {
		if f := w.finished[p.id]; f.GetParametersSha256() != sum || len(sum) != 64 || f.GetIteration() != w.run.GetSpec().GetIterations() {
			w.t.Fatalf("%s ends with %v, %s with %s", p.id, f, ps[0].id, sum)
		}
	}
	return sum
}

// quiet is what a run ends with to which nothing happens: parameters, and the results of its evaluations.
func quiet(t *testing.T, n int) (sum string, evaluations map[string]string) {
	bubble(t, nil, func(w *world) {
		var ps []*process
		for i := range n {
			ps = append(ps, w.start(fmt.Sprintf("trainer-%d", i)))
		}
		w.joins(n)
		w.form(false, ps...)
		sum = w.ends(ps...)
		evaluations = w.evaluations()
		w.recordsAreWhole()
	})
	return sum, evaluations
}

// evaluations are the digests of every evaluation's numbers. Parts that were computed twice must be the same.
func (w *world) evaluations() map[string]string {
	w.t.Helper()
	images := map[string]map[int]string{}
	totals := map[string]uint32{}
	for _, p := range reported(w, "", (*ditherv1.ReportRequest).GetPart) {
		key := fmt.Sprintf("%v after %d", p.GetKind(), p.GetIteration())
		if images[key] == nil {
			images[key], totals[key] = map[int]string{}, p.GetTotal()
		}
		n := int(p.GetValues().GetShape()[0])
		for i := range n {
			size := len(p.GetValues().GetData()) / n
			v := string(p.GetValues().GetData()[i*size : (i+1)*size])
			at := int(p.GetFirst()) + i
			if old, twice := images[key][at]; twice && old != v {
				w.t.Errorf("image %d of %s has two results", at, key)
			}
			images[key][at] = v
		}
	}
	out := map[string]string{}
	for key, all := range images {
		if len(all) != int(totals[key]) {
			w.t.Errorf("%s has %d of %d images", key, len(all), totals[key])
		}
		h := sha256.New()
		for i := range len(all) {
			h.Write([]byte(all[i]))
		}
		out[key] = fmt.Sprintf("%d: %x", len(all), h.Sum(nil))
	}
	return out
}

// recordsAreWhole holds that every iteration is on record, and that those which came twice are the same.
func (w *world) recordsAreWhole() {
	w.t.Helper()
	first := map[uint32]*ditherv1.IterationRecord{}
	for _, r := range reported(w, "", (*ditherv1.ReportRequest).GetIteration) {
		k := r.GetIteration()
		if len(r.GetLabelDigests()) != runShards || len(r.GetShardSeconds()) != runShards || r.GetGeneration() == 0 {
			w.t.Errorf("the record of iteration %d is %v", k, r)
		}
		if old := first[k]; old == nil {
			first[k] = r
		} else if old.GetLoss() != r.GetLoss() || old.GetCorrect() != r.GetCorrect() || !slices.Equal(old.GetLabelDigests(), r.GetLabelDigests()) {
			w.t.Errorf("iteration %d has the records %v and %v", k, old, r)
		}
	}
	for k := uint32(1); k <= w.have; k++ {
		if first[k] == nil {
			w.t.Errorf("iteration %d is not on record", k)
		}
	}
}

// reference is the end of a quiet run of one trainer.
func reference(t *testing.T) string {
	sum, _ := quiet(t, 1)
	return sum
}

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
	s.gather(k)
	s.digest(soft)
	if err := s.program.Input(s.pixels, s.geometry, s.labels, soft); err != nil {
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

func TestASplitCommitIsSettledByTheGreatest(t *testing.T) {
	want := reference(t)
	bubble(t, nil, func(w *world) {
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
