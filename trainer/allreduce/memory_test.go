package allreduce

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func faultyJob() job {
	return job{ranges: []Range{{0, 3}, {3, 4}, {4, 9}, {9, 11}}, options: Options{ChunkFloats: 16}, iterations: 3, waitOrder: []int{1, 0, 2},
		buckets: [][][]float32{orderSensitive(11, 300, 1), orderSensitive(11, 5, 2), orderSensitive(11, 90, 3)}}
}

// Whatever the order of arrival, the same bits.
func TestDelaysDoNotShow(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			j := faultyJob()
			if err := j.run(memoryTransports(4, MemoryOptions{Seed: seed, Delay: time.Second, Queue: 1 + int(seed%5)})); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// A rank that dies or a chunk that is lost: nobody hangs (the bubble would say so), nobody gets a wrong sum, and whoever is lost is named.
func TestFaultsAreFinalAndNamed(t *testing.T) {
	var failed, finished atomic.Int32
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			j := faultyJob()
			o := MemoryOptions{Seed: seed, Delay: time.Second * time.Duration(seed%2), Drop: 0.001, Die: 0.001}
			want := [][]float32{treeSum(j.buckets[0]), treeSum(j.buckets[1]), treeSum(j.buckets[2])}
			ts := memoryTransports(4, o)
			together(4, func(rank int) error {
				r := New(Group{Rank: rank, Ranges: j.ranges}, ts[rank], j.options)
				err := j.trainer(r, rank, want)
				switch {
				case err == nil:
					finished.Add(1)
				case errors.Is(err, ErrPeerLost) && strings.Contains(err.Error(), " at memory:") || errors.Is(err, ErrClosed) && strings.Contains(err.Error(), "it died"):
					failed.Add(1)
				default:
					t.Errorf("seed %d, rank %d: %v", seed, rank, err)
				}
				if err != nil {
					if again := r.Wait(0, nil); again.Error() != err.Error() {
						t.Errorf("seed %d, rank %d: a second Wait gives %v, the first %v", seed, rank, again, err)
					}
				}
				r.Close()
				return nil
			})
		})
	}
	if failed.Load() < 20 || finished.Load() < 20 {
		t.Errorf("%d trainers failed and %d finished: these faults test nothing", failed.Load(), finished.Load())
	}
}

// The same seed, the same order of arrival and the same faults; another seed, others.
func TestASeedReplays(t *testing.T) {
	play := func(seed uint64) (log []string) {
		synctest.Test(t, func(t *testing.T) {
			ts := memoryTransports(3, MemoryOptions{Seed: seed, Delay: time.Millisecond, Drop: 0.02})
			begun := time.Now()
			lines := make(chan string, 1000)
			together(2*9, func(i int) error {
				from, to := i/2/3, i/2%3
				for index := 0; from != to && index < 30; index++ {
					if i%2 == 0 {
						if ts[from].Send(to, numbers(from, to, index, 1)) != nil {
							return nil
						}
					} else if _, err := ts[to].Recv(from); err != nil {
						lines <- fmt.Sprintf("%10d ns %d-%d %d: %v", time.Since(begun), from, to, index, err)
						return nil
					} else {
						lines <- fmt.Sprintf("%10d ns %d-%d %d", time.Since(begun), from, to, index)
					}
				}
				return nil
			})
			close(lines)
			for l := range lines {
				log = append(log, l)
			}
			slices.Sort(log) // by time; a drop is seen on several pairs at one moment
		})
		return log
	}
	first := play(7)
	if again := play(7); !slices.Equal(first, again) {
		t.Errorf("seed 7 gave\n%s\nand then\n%s", strings.Join(first, "\n"), strings.Join(again, "\n"))
	}
	if other := play(8); slices.Equal(first, other) {
		t.Error("seed 8 gives what seed 7 gives")
	}
	if len(first) < 40 {
		t.Errorf("only %d chunks arrived", len(first))
	}
}

// A peer that does not receive holds up the sender after a queue's length.
func TestSendWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := memoryTransports(2, MemoryOptions{Queue: 5})
		var sent atomic.Int32
		go func() {
			for ts[0].Send(1, numbers(0, 1, 0, 1)) == nil {
				sent.Add(1)
			}
		}()
		synctest.Wait()
		if sent.Load() != 5 {
			t.Errorf("%d chunks were sent into a queue of 5", sent.Load())
		}
		ts[1].Recv(0)
		synctest.Wait()
		if sent.Load() != 6 {
			t.Errorf("%d chunks were sent after one was received", sent.Load())
		}
		ts[0].Close(errors.New("test over"))
		synctest.Wait()
	})
}

// The worker stops making partials for a peer that takes none: what waits does not grow with the bucket.
func TestAReducerHoldsLittleForASlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := memoryTransports(2, MemoryOptions{Queue: 3})
		r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, ts[0], Options{ChunkFloats: 1})
		r.Begin(1)
		r.Start(0, [][]float32{make([]float32, 1000)})
		synctest.Wait()
		// In the queue, in Send's hand, in the lane.
		r.mu.Lock()
		if l := r.lanes[1]; l.partials > lanePartials || len(l.queue) > lanePartials || len(r.chunks) > 2*(3+1+lanePartials) {
			t.Errorf("%d partials of %d chunks begun wait for a peer that takes none", l.partials, len(r.chunks))
		}
		r.mu.Unlock()
		r.Abort(errors.New("test over"))
	})
}

func TestKill(t *testing.T) {
	m := newMemory(2, MemoryOptions{})
	r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, m.Rank(0), Options{})
	r.Begin(1)
	r.Start(0, [][]float32{{1}})
	m.Kill("memory:1")
	if err := r.Wait(0, make([]float32, 1)); !errors.Is(err, ErrPeerLost) || !strings.Contains(err.Error(), "rank 1 at memory:1: peer lost: it died") {
		t.Errorf("Wait gives %v, want ErrPeerLost", err)
	}
	r.Close()
}
