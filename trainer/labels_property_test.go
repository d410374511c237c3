package trainer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// passage is what changes before an iteration is taken.
type passage struct {
	teachers   []string // who is there; nil: as before
	first, end int      // shards of a new generation; 0, 0: as before
	redone     bool     // it begins one iteration back
}

// TestLabelsAreThoseOfTheQuestion: whoever is asked, whatever fails and however the shards move.
func TestLabelsAreThoseOfTheQuestion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		faults := append([]int{0}, rapid.SliceOfN(rapid.IntRange(0, 3), 63, 63).Draw(rt, "faults")...) // not all fail
		depth := rapid.Uint32Range(0, 4).Draw(rt, "depth")
		var steps []passage
		for i := range 20 {
			var s passage
			if i == 0 || rapid.IntRange(0, 4).Draw(rt, "teachers change") == 0 {
				s.teachers = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a:1", "a:2", "b:1", "c:1"}), 1, 3, rapid.ID).Draw(rt, "teachers")
			}
			if rapid.IntRange(0, 4).Draw(rt, "generation") == 0 {
				s.first = rapid.IntRange(0, 3).Draw(rt, "first")
				s.end = rapid.IntRange(s.first+1, 4).Draw(rt, "end")
				s.redone = rapid.Bool().Draw(rt, "redone")
			}
			steps = append(steps, s)
		}
		var failed string
		synctest.Test(t, func(t *testing.T) { failed = follow(t, faults, depth, steps) })
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

// follow says in what labels differ from the truth.
func follow(t *testing.T, faults []int, depth uint32, steps []passage) string {
	var mu sync.Mutex
	next := 0
	perhaps := func(ctx context.Context, k uint32, s []uint32) ([]float32, error) {
		mu.Lock()
		f := faults[next%len(faults)]
		next++
		mu.Unlock()
		switch f {
		case 1:
			return down(ctx, k, s)
		case 2:
			return frozen(ctx, k, s)
		case 3:
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
				return frozen(ctx, k, s)
			}
		}
		return truths(k, s), nil
	}
	w := labelsOf(t)
	w.does = perhaps
	w.labels.depth = max(1, depth)
	first, end := 0, 4
	samples := func(k uint32) (ids []uint32) {
		for i := 2 * first; i < 2*end; i++ {
			ids = append(ids, (k*8+uint32(i))*7%97)
		}
		return ids
	}
	k := uint32(60)
	w.labels.Begin(k, 80, samples)
	for _, s := range steps {
		if s.teachers != nil {
			w.says(s.teachers...)
		}
		if s.end > 0 {
			first, end = s.first, s.end
			if s.redone && k > 60 {
				k--
			}
			w.labels.Begin(k, 80, samples)
		}
		got, err := w.labels.Take(t.Context(), k)
		if err != nil || !slices.Equal(got, truths(k, samples(k))) {
			return fmt.Sprintf("iteration %d: %v, %v", k, got, err)
		}
		if len(w.labels.asked) > int(w.labels.depth) {
			return fmt.Sprintf("%d iterations' labels are held", len(w.labels.asked))
		}
		k++
	}
	return ""
}
