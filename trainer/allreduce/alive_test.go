package allreduce

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

var errOver = errors.New("test over")

// reducers are one of each rank, with a shard each.
func reducers(ts []Transport, o Options) []*Reducer {
	rs := make([]*Reducer, len(ts))
	for rank, t := range ts {
		rs[rank] = New(Group{Rank: rank, Ranges: equalRanges(len(ts), len(ts))}, t, o)
	}
	return rs
}

// once does one all-reduce of a float on all of them, whose sum is their number.
func once(rs []*Reducer, iteration uint32) error {
	return together(len(rs), func(rank int) error {
		rs[rank].Begin(iteration)
		rs[rank].Start(0, [][]float32{{1}})
		sum := make([]float32, 1)
		if err := rs[rank].Wait(0, sum); err != nil {
			return err
		}
		if sum[0] != float32(len(rs)) {
			return errors.New("a wrong sum")
		}
		return nil
	})
}

// Trainers that have nothing to send for an hour live; the first that stops is found after a silence and no sooner.
func TestSilence(t *testing.T) {
	for _, silence := range []time.Duration{0, 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(3, MemoryOptions{})
			rs := reducers(m.ranks, Options{Silence: silence})
			time.Sleep(time.Hour)
			if err := once(rs, 1); err != nil {
				t.Fatalf("after an hour of beats: %v", err)
			}
			if silence == 0 {
				silence = 2 * time.Second
			}
			time.Sleep(7 * time.Millisecond)
			m.Freeze("memory:2")
			begun, found := time.Now(), 0
			for _, r := range rs[:2] {
				r.Begin(2)
				r.Start(0, [][]float32{{1}})
				err := r.Wait(0, make([]float32, 1))
				took := time.Since(begun)
				if !errors.Is(err, ErrPeerLost) || !strings.Contains(err.Error(), "rank 2 at memory:2: peer lost: silent for "+silence.String()) {
					t.Errorf("Wait gives %v, want rank 2 silent for %v", err, silence)
				}
				if rank, ok := LostRank(err); ok && rank == 2 {
					found++
				} else if ok {
					t.Errorf("%v names rank %d, who lives and only said what it found", err, rank)
				}
				if took < silence*3/4 || took > silence*5/4 {
					t.Errorf("found after %v, want about %v", took, silence)
				}
			}
			if found == 0 {
				t.Error("nobody says that rank 2 is lost")
			}
			m.Thaw("memory:2")
			for _, r := range rs {
				r.Abort(errOver)
			}
		})
	}
}

// A freeze that is shorter than the silence costs time only, and whoever was frozen for long takes nobody for lost because it did not listen.
func TestAFrozenTrainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(2, MemoryOptions{})
		rs := reducers(m.ranks, Options{})
		m.Freeze("memory:1")
		time.Sleep(1400 * time.Millisecond)
		m.Thaw("memory:1")
		if err := once(rs, 1); err != nil {
			t.Fatalf("after a short freeze: %v", err)
		}
		m.Freeze("memory:1")
		time.Sleep(time.Minute)
		synctest.Wait()
		rs[1].mu.Lock()
		if err := rs[1].err; err != nil {
			t.Errorf("the frozen trainer itself says %v", err)
		}
		rs[1].mu.Unlock()
		m.Thaw("memory:1")
		synctest.Wait()
		rs[1].Begin(2)
		rs[1].Start(0, [][]float32{{1}})
		err := rs[1].Wait(0, make([]float32, 1))
		if _, ok := LostRank(err); ok || !errors.Is(err, ErrPeerLost) || !strings.Contains(err.Error(), "rank 0") || !strings.Contains(err.Error(), "silent for 2s") {
			t.Errorf("after its thaw it hears %v, want what rank 0 said, who lives", err)
		}
		for _, r := range rs {
			r.Abort(errOver)
		}
	})
}

// slow is a Transport whose Recv takes its time: back-pressure.
type slow struct{ Transport }

func (s slow) Recv(from int) (wire.Chunk, error) {
	time.Sleep(900 * time.Millisecond)
	return s.Transport.Recv(from)
}

// A peer that is slow to take is not dead, even while the other side's Send waits for it.
func TestASlowReaderIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := memoryTransports(2, MemoryOptions{Queue: 1})
		ts[1] = slow{ts[1]}
		rs := reducers(ts, Options{ChunkFloats: 1})
		err := together(2, func(rank int) error {
			rs[rank].Begin(1)
			rs[rank].Start(0, [][]float32{make([]float32, 20)})
			return rs[rank].Wait(0, make([]float32, 20))
		})
		if err != nil {
			t.Errorf("with a reader that takes 0.9 s for a chunk: %v", err)
		}
		for _, r := range rs {
			r.Abort(errOver)
		}
	})
}

// A peer that falls silent while a trainer closes does not hold it up for ever.
func TestCloseDoesNotWaitForTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(3, MemoryOptions{Queue: 1})
		rs := reducers(m.ranks, Options{ChunkFloats: 1})
		if err := once(rs, 1); err != nil {
			t.Fatal(err)
		}
		m.Freeze("memory:2")
		c := rs[0].lanes[2]
		rs[0].mu.Lock()
		for range 3 {
			c.post(rs[0].pulse())
		}
		rs[0].mu.Unlock()
		begun := time.Now()
		rs[0].Close()
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("Close took %v", took)
		}
		m.Thaw("memory:2")
		rs[1].Abort(errOver)
		rs[2].Abort(errOver)
	})
}

// Over gRPC: beats go through, and a process that stops is found by its silence although its connection stands.
func TestSilenceOverGRPC(t *testing.T) {
	ts, err := mustListen(t, 2).connect(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	const silence = 80 * time.Millisecond
	go func() { // rank 1 has no Reducer: nothing comes from it
		for {
			c, err := ts[1].Recv(0)
			if err != nil {
				return
			}
			c.Data.Release()
		}
	}()
	r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, ts[0], Options{Silence: silence})
	r.Begin(1)
	r.Start(0, [][]float32{{1}})
	err = r.Wait(0, make([]float32, 1))
	if rank, ok := LostRank(err); !ok || rank != 1 || !strings.Contains(err.Error(), "silent for 80ms") {
		t.Errorf("Wait gives %v, want rank 1 silent", err)
	}
	r.Close()
	ts[1].Close(errOver)
}

func TestLostRank(t *testing.T) {
	for _, v := range []struct {
		err  error
		rank int
		ok   bool
	}{
		{nil, -1, false},
		{errOver, -1, false},
		{lost(3, "there", context.DeadlineExceeded), 3, true},
		{errors.Join(errOver, lost(0, "there", errDied)), 0, true},
		{left(3, "there", errOver), -1, false},
	} {
		if rank, ok := LostRank(v.err); rank != v.rank || ok != v.ok {
			t.Errorf("of %v: rank %d, %v", v.err, rank, ok)
		}
	}
}
