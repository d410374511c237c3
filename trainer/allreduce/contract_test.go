package allreduce

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// connector gives the transports of n ranks that reach each other.
type connector func(t *testing.T, n int) []Transport

// Every Transport passes this suite.
func TestTransports(t *testing.T) {
	sockets := func(network func(t *testing.T, rank int) (string, string), alone ...int) connector {
		return func(t *testing.T, n int) []Transport {
			l, err := listen(n, func(rank int) (string, string) { return network(t, rank) })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.stop)
			for _, rank := range alone {
				if rank < n {
					l.servers[rank].alone = true
				}
			}
			ts, err := l.connect(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			return ts
		}
	}
	tcp := func(*testing.T, int) (string, string) { return "tcp", "127.0.0.1:0" }
	unix := func(t *testing.T, rank int) (string, string) {
		return "unix", filepath.Join(t.TempDir(), fmt.Sprint(rank))
	}
	for name, connect := range map[string]connector{
		"memory":                     func(t *testing.T, n int) []Transport { return memoryTransports(n, MemoryOptions{}) },
		"tcp":                        sockets(tcp, 0, 1, 2, 3),
		"unix":                       sockets(unix, 0, 1, 2, 3),
		"shared":                     sockets(unix),
		"shared by some, beside tcp": sockets(tcp, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("order", func(t *testing.T) { testOrder(t, connect) })
			t.Run("shared", func(t *testing.T) { testShared(t, connect) })
			t.Run("close", func(t *testing.T) { testClose(t, connect) })
			t.Run("abort", func(t *testing.T) { testAbort(t, connect) })
			t.Run("misuse", func(t *testing.T) { testMisuse(t, connect) })
			t.Run("reduce", func(t *testing.T) { testReduce(t, connect) })
		})
	}
}

// numbers is a chunk whose header and floats are a function of its index.
func numbers(from, to, index, floats int) wire.Chunk {
	return numbersIn(wire.Get, from, to, index, floats)
}

// memoryOf is where a transport would have what it sends.
func memoryOf(t Transport) func(int) *wire.Buffer {
	if own, ok := t.(interface{ get(int) *wire.Buffer }); ok {
		return own.get
	}
	return wire.Get
}

func numbersIn(get func(int) *wire.Buffer, from, to, index, floats int) wire.Chunk {
	c := wire.Chunk{Iteration: 3, Kind: ditherv1.ChunkKind_CHUNK_KIND_PARTIAL, Bucket: uint32(from), Index: uint32(index), First: uint32(to), End: uint32(to + 1), Data: get(floats)}
	for i := range c.Data.Writable() {
		c.Data.Writable()[i] = float32(100*from + 10*to + index + i)
	}
	return c
}

func check(got, want wire.Chunk) error {
	a, b := got, want
	a.Data, b.Data = nil, nil
	if a != b || !same(got.Data.Floats(), want.Data.Floats()) {
		return fmt.Errorf("received %+v with %d floats, want %+v with %d", a, got.Data.Len(), b, want.Data.Len())
	}
	got.Data.Release()
	want.Data.Release()
	return nil
}

// Chunks of all sizes, between all pairs at once, arrive once each, whole and in order; then every stream ends in good order.
func testOrder(t *testing.T, connect connector) {
	const n, count = 3, 20
	before := wire.Outstanding()
	ts := connect(t, n)
	sizes := []int{1, 2, 3, 10, 511, 512, 513, 5000, 40_000}
	err := together(2*n*n, func(i int) error {
		from, to := i/2/n, i/2%n
		if from == to {
			return nil
		}
		for index := range count {
			want := numbers(from, to, index, sizes[(index+from)%len(sizes)])
			if i%2 == 0 {
				want.Data.Release()
				if err := ts[from].Send(to, numbersIn(memoryOf(ts[from]), from, to, index, sizes[(index+from)%len(sizes)])); err != nil {
					return err
				}
			} else if got, err := ts[to].Recv(from); err != nil {
				return err
			} else if err := check(got, want); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAll(t, ts)
	if left := wire.Outstanding() - before; left != 0 {
		t.Errorf("%d buffers leaked", left)
	}
}

// closeAll closes every rank in good order while each receives the ends of the others' streams.
func closeAll(t *testing.T, ts []Transport) {
	t.Helper()
	n := len(ts)
	err := together(n*n+n, func(i int) error {
		if i >= n*n {
			ts[i-n*n].Close(nil)
			return nil
		}
		if from, to := i/n, i%n; from != to {
			if _, err := ts[to].Recv(from); !errors.Is(err, io.EOF) && !errors.Is(err, ErrClosed) {
				return fmt.Errorf("rank %d from rank %d after Close: error %v, want io.EOF or ErrClosed", to, from, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// One buffer may be on its way to several peers.
func testShared(t *testing.T, connect connector) {
	const n = 4
	before := wire.Outstanding()
	ts := connect(t, n)
	c := numbersIn(memoryOf(ts[0]), 0, 0, 0, 3000)
	c.Data.Retain(n - 2)
	for to := 1; to < n; to++ {
		if err := ts[0].Send(to, c); err != nil {
			t.Fatal(err)
		}
	}
	for to := 1; to < n; to++ {
		got, err := ts[to].Recv(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(got, numbers(0, 0, 0, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	closeAll(t, ts)
	if left := wire.Outstanding() - before; left != 0 {
		t.Errorf("%d buffers leaked", left)
	}
}

// A rank that closes in good order, the opener of a stream or not, delivers what it sent.
func testClose(t *testing.T, connect connector) {
	for closer := range 2 {
		ts := connect(t, 2)
		other := 1 - closer
		err := together(3, func(i int) error {
			switch i {
			case 0:
				for index := range 10 {
					if err := ts[closer].Send(other, numbersIn(memoryOf(ts[closer]), closer, other, index, 20_000)); err != nil {
						return err
					}
				}
				ts[closer].Close(nil)
				ts[closer].Close(nil)
			case 1: // the closer receives until the end
				if _, err := ts[closer].Recv(other); !errors.Is(err, io.EOF) && !errors.Is(err, ErrClosed) {
					return fmt.Errorf("the closer receives %v", err)
				}
			case 2:
				for index := range 10 {
					got, err := ts[other].Recv(closer)
					if err != nil {
						return fmt.Errorf("chunk %d: %w", index, err)
					}
					if err := check(got, numbers(closer, other, index, 20_000)); err != nil {
						return err
					}
				}
				if _, err := ts[other].Recv(closer); !errors.Is(err, io.EOF) {
					return fmt.Errorf("after the last chunk: error %v, want io.EOF", err)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("rank %d closes: %v", closer, err)
		}
		ts[other].Close(errors.New("test over"))
		if err := ts[closer].Send(other, numbers(closer, other, 0, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("send after Close: error %v, want ErrClosed", err)
		}
	}
}

// A Close with a cause lets go of everyone who waits, here and at the peers.
func testAbort(t *testing.T, connect connector) {
	for closer := range 3 {
		ts := connect(t, 3)
		var errs [9]error
		together(10, func(i int) error {
			if i == 9 {
				ts[closer].Close(errors.New("the cause"))
			} else if to, from := i/3, i%3; from != to && (from == closer || to == closer) {
				_, errs[i] = ts[to].Recv(from)
			}
			return nil
		})
		for i, err := range errs {
			switch to, from := i/3, i%3; {
			case from == to:
			case to == closer && (!errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "the cause")):
				t.Errorf("rank %d closed: its Recv gives %v, want ErrClosed and the cause", closer, err)
			case from == closer && to != closer && (!errors.Is(err, ErrPeerLost) || !strings.Contains(err.Error(), fmt.Sprintf("rank %d at %s", closer, ts[to].Address(closer)))):
				t.Errorf("rank %d closed: rank %d's Recv gives %v, want ErrPeerLost with rank and address", closer, to, err)
			}
			if to, from := i/3, i%3; from == closer && to != closer {
				if err := ts[to].Send(closer, numbers(to, closer, 0, 600)); err == nil {
					// A send may not see it yet; what it took over is not ours any more.
					continue
				} else if !errors.Is(err, ErrPeerLost) {
					t.Errorf("rank %d closed: rank %d's Send gives %v, want ErrPeerLost", closer, to, err)
				}
			}
		}
		for _, tr := range ts {
			tr.Close(errors.New("test over"))
		}
	}
}

func testMisuse(t *testing.T, connect connector) {
	ts := connect(t, 2)
	data := wire.Get(1)
	defer data.Release()
	mustPanic(t, "send to oneself", func() { ts[0].Send(0, wire.Chunk{Data: data}) })
	mustPanic(t, "send to nobody", func() { ts[0].Send(2, wire.Chunk{Data: data}) })
	mustPanic(t, "send nothing", func() { ts[0].Send(1, wire.Chunk{}) })
	mustPanic(t, "receive from oneself", func() { ts[1].Recv(1) })
	mustPanic(t, "receive from nobody", func() { ts[1].Recv(-1) })
	for _, tr := range ts {
		tr.Close(errors.New("test over"))
	}
	var own turn
	own.take("Send", 0)
	mustPanic(t, "a second goroutine", func() { own.take("Send", 0) })
}

// The all-reduce over the transport, unequal ranges, with trainers that close as soon as they are done.
func testReduce(t *testing.T, connect connector) {
	for _, rs := range [][]Range{{{0, 1}, {1, 2}}, {{0, 3}, {3, 4}, {4, 7}}, equalRanges(6, 4)} {
		shards := rs[len(rs)-1].End
		j := job{ranges: rs, options: Options{ChunkFloats: 700}, iterations: 3, waitOrder: []int{1, 2, 0},
			buckets: [][][]float32{orderSensitive(shards, 5_000, 1), orderSensitive(shards, 3, 2), orderSensitive(shards, 1500, 3)}}
		if err := j.run(connect(t, len(rs))); err != nil {
			t.Fatal(err)
		}
	}
}
