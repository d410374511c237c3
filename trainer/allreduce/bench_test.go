package allreduce

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestBench(t *testing.T) {
	for trainers := 1; trainers <= 3; trainers++ {
		folder := t.TempDir()
		err := together(trainers, func(rank int) error {
			ms, err := Bench{Folder: folder, Rank: rank, Trainers: trainers, Floats: 100_000, Iterations: 3}.Run(t.Context())
			if err == nil && (len(ms) != 3 || ms[0] <= 0) {
				err = fmt.Errorf("%v ms", ms)
			}
			return err
		})
		if err != nil {
			t.Errorf("%d trainers: %v", trainers, err)
		}
	}
	if _, err := (Bench{Folder: t.TempDir(), Rank: 1, Trainers: 1, Floats: 1, Iterations: 1}).Run(t.Context()); err == nil {
		t.Error("a bench of rank 1 of 1")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Bench{Folder: t.TempDir(), Trainers: 2, Floats: 10, Iterations: 1}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled bench: error %v, want context.Canceled", err)
	}
}

// iterations gives a function that does one all-reduce on all trainers at once, which stay between the calls.
func iterations(tb testing.TB, ts []Transport, floats int, o Options) func() {
	n := len(ts)
	begin, done := make([]chan uint32, n), make(chan error, n)
	for rank := range n {
		begin[rank] = make(chan uint32)
		go func() {
			r := New(Group{Rank: rank, Ranges: equalRanges(n, n)}, ts[rank], o)
			shards, sum := [][]float32{make([]float32, floats)}, make([]float32, floats)
			for k := range begin[rank] {
				r.Begin(k)
				r.Start(0, shards)
				done <- r.Wait(0, sum)
			}
			r.Close()
			done <- nil
		}()
	}
	tb.Cleanup(func() {
		for _, b := range begin {
			close(b)
		}
		for range n {
			<-done
		}
	})
	k := uint32(0)
	return func() {
		k++
		for _, b := range begin {
			b <- k
		}
		for range n {
			if err := <-done; err != nil {
				tb.Error(err)
			}
		}
	}
}

// Nothing is allocated for an all-reduce once the first ones have been: our code alone, without gRPC.
func TestSteadyAllReducesAllocateNothing(t *testing.T) {
	once := iterations(t, memoryTransports(3, MemoryOptions{}), 200_000, Options{})
	for range 5 {
		once()
	}
	if n := testing.AllocsPerRun(20, once); n > 3 && !raceEnabled {
		t.Errorf("an all-reduce of three trainers takes %v allocations", n)
	}
}

// BenchmarkAllReduce is over gRPC on loopback TCP; floats of a ResNet-20 and a ResNet-56, and of a small collective.
func BenchmarkAllReduce(b *testing.B) {
	for _, trainers := range []int{2, 4} {
		for _, floats := range []int{64, 272_474, 855_770} {
			b.Run(fmt.Sprintf("trainers=%d/floats=%d", trainers, floats), func(b *testing.B) {
				l, err := listen(trainers, tcp)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(l.stop)
				ts, err := l.connect(b.Context(), 1)
				if err != nil {
					b.Fatal(err)
				}
				once := iterations(b, ts, floats, Options{})
				once()
				b.SetBytes(int64(4 * floats))
				b.ReportAllocs()
				for b.Loop() {
					once()
				}
			})
		}
	}
}

// BenchmarkMessage is what a message costs beside its bytes, over loopback TCP: chunks of 64 floats between two trainers. core-µs/message is of one core, sending and
// receiving; both trainers share the machine.
func BenchmarkMessage(b *testing.B) {
	const chunks = 1024
	l, err := listen(2, tcp)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.stop)
	ts, err := l.connect(b.Context(), 1)
	if err != nil {
		b.Fatal(err)
	}
	once := iterations(b, ts, 64*chunks, Options{ChunkFloats: 64})
	once()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		once()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/1e3/float64(b.N*2*chunks), "core-µs/message") // a chunk of the other's goes there, and comes back
}

func BenchmarkSubtreeSum(b *testing.B) {
	for _, shards := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			all, dst := orderSensitive(shards, DefaultChunkFloats, 1), make([]float32, DefaultChunkFloats)
			a := newAdder(shards)
			b.SetBytes(int64(4 * shards * len(dst)))
			for b.Loop() {
				a.sum(dst, all, 0)
			}
		})
	}
}
