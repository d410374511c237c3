package trainer

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

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
