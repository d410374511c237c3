package allreduce

import (
	"testing"
	"time"
)

// A peer that takes nothing holds up the making of partials: what waits for it is bounded by its window and the segment, not by the bucket, which is larger.
func TestAPeerThatTakesNothing(t *testing.T) {
	const floats = 64 << 20
	for name, alone := range map[string]bool{"numbers travel": true, "memory is shared": false} {
		l := mustListen(t, 2)
		l.servers[0].alone = alone
		ts, err := l.connect(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		bound := 2 * windowBytes / (4 * DefaultChunkFloats)
		if !alone {
			// Rank 1's word that it opened the segment is only heard by who receives, which the Reducer does.
			bound += 256
		}
		r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, ts[0], Options{Silence: time.Hour})
		r.Begin(1)
		r.Start(0, [][]float32{make([]float32, floats)})
		made := func() (chunks int, stuck bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			lane := r.lanes[1]
			return len(r.chunks), lane.partials >= lanePartials && lane.sending
		}
		last, since := 0, time.Now()
		if !until(func() bool {
			chunks, stuck := made()
			if chunks != last || !stuck {
				last, since = chunks, time.Now()
			}
			return time.Since(since) > 100*time.Millisecond
		}) {
			t.Errorf("%s: partials are still being made", name)
		}
		if last > bound+2*lanePartials || last >= floats/DefaultChunkFloats/2 {
			t.Errorf("%s: %d chunks were begun for a peer that takes none, want at most %d", name, last, bound)
		}
		t.Logf("%s: %d chunks", name, last)
		r.Abort(errOver)
		ts[1].Close(errOver)
	}
}
