package allreduce

import (
	"errors"
	"strings"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

const (
	partial = ditherv1.ChunkKind_CHUNK_KIND_PARTIAL
	whole   = ditherv1.ChunkKind_CHUNK_KIND_SUM
)

// sends gives a Reducer of rank 0 of two, with shards [0, 1) and [1, 4), that does iteration 5 after chunks from rank 1; rank 1's subtrees are [1, 2) and [2, 4).
func sends(t *testing.T, chunks ...wire.Chunk) error {
	t.Helper()
	m := newMemory(2, MemoryOptions{})
	r := New(Group{Rank: 0, Ranges: []Range{{0, 1}, {1, 4}}}, m.Rank(0), Options{ChunkFloats: 2})
	defer r.Close()
	r.Begin(5)
	r.Start(8, [][]float32{{1, 2, 3}})
	for _, c := range chunks {
		floats := c.Data
		if floats == nil {
			c.Data = wire.Get(2)
		}
		if err := m.Rank(1).Send(0, c); err != nil {
			t.Fatal(err)
		}
	}
	return r.Wait(8, make([]float32, 3))
}

func TestChunksThatDoNotBelongAreRefused(t *testing.T) {
	good := wire.Chunk{Iteration: 5, Kind: partial, Bucket: 8, Index: 0, First: 1, End: 2}
	second := wire.Chunk{Iteration: 5, Kind: partial, Bucket: 8, Index: 0, First: 2, End: 4}
	sum := wire.Chunk{Iteration: 5, Kind: whole, Bucket: 8, Index: 1}
	change := func(c wire.Chunk, f func(*wire.Chunk)) wire.Chunk { f(&c); return c }
	for name, v := range map[string]struct {
		chunks []wire.Chunk
		want   []string // in the error
	}{
		"an iteration that is over":        {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.Iteration = 4 })}, []string{"iteration 4", "at iteration 5"}},
		"a sum of one that is over":        {[]wire.Chunk{change(sum, func(c *wire.Chunk) { c.Iteration = 4 })}, []string{"iteration 4", "at iteration 5"}},
		"an iteration far ahead":           {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.Iteration = 7 })}, []string{"iteration 7", "at iteration 5"}},
		"shards that are no subtree":       {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.End = 4 })}, []string{"[1, 4)", "[[1, 2) [2, 4)]", "rank 1 at memory:1"}},
		"another trainer's shards":         {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.First, c.End = 0, 1 })}, []string{"[0, 1)", "[[1, 2) [2, 4)]"}},
		"a partial that came already":      {[]wire.Chunk{good, good}, []string{"came twice", "chunk 0 of collective 8 of iteration 5"}},
		"a sum that came already":          {[]wire.Chunk{sum, sum}, []string{"came twice", "chunk 1 of collective 8 of iteration 5"}},
		"a partial for another owner":      {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.Index = 1 })}, []string{"owner is rank 1", "came to rank 0"}},
		"a sum from one who is not owner":  {[]wire.Chunk{change(sum, func(c *wire.Chunk) { c.Index = 2 })}, []string{"owner is rank 0"}},
		"no kind":                          {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.Kind = 0 })}, []string{"UNSPECIFIED"}},
		"a partial of another length":      {[]wire.Chunk{change(good, func(c *wire.Chunk) { c.Data = wire.Get(3) }), second}, []string{"3", "2", "chunk 0 of collective 8"}},
		"a sum of another length":          {[]wire.Chunk{good, second, change(sum, func(c *wire.Chunk) { c.Data = wire.Get(2) })}, []string{"2 floats there and 1 here"}},
		"an owned chunk of another bucket": {[]wire.Chunk{good, change(second, func(c *wire.Chunk) { c.Data = wire.Get(1) })}, []string{"floats", "chunk 0 of collective 8"}},
	} {
		err := sends(t, v.chunks...)
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: error %v, want ErrRefused", name, err)
			continue
		}
		for _, want := range v.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", name, err, want)
			}
		}
	}
}

// What a peer sends before this trainer has begun is kept if it is for the iteration that begins or the next, and refused otherwise.
func TestChunksFromBeforeBegin(t *testing.T) {
	for iteration, refused := range map[uint32]bool{4: true, 5: false, 6: false, 7: true} {
		m := newMemory(2, MemoryOptions{})
		r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, m.Rank(0), Options{})
		c := wire.Chunk{Iteration: iteration, Kind: partial, Bucket: 0, Index: 0, First: 1, End: 2, Data: wire.Get(1)}
		c.Data.Writable()[0] = 40
		if err := r.deliver(1, c); err != nil {
			t.Fatal(err)
		}
		r.Begin(5)
		if iteration == 6 {
			own := wire.Get(1)
			own.Writable()[0] = 1
			r.deliver(1, wire.Chunk{Iteration: 5, Kind: partial, Bucket: 0, Index: 0, First: 1, End: 2, Data: own})
		}
		sum := make([]float32, 1)
		r.Start(0, [][]float32{{2}})
		err := r.Wait(0, sum)
		if refused != errors.Is(err, ErrRefused) || !refused && err != nil {
			t.Errorf("a chunk of iteration %d before Begin(5): error %v", iteration, err)
		}
		if want := map[uint32]float32{5: 42, 6: 3}[iteration]; sum[0] != want {
			t.Errorf("a chunk of iteration %d before Begin(5): sum %v, want %v", iteration, sum[0], want)
		}
		if iteration == 6 {
			r.Begin(6)
			r.Start(0, [][]float32{{2}})
			if err := r.Wait(0, sum); err != nil || sum[0] != 42 {
				t.Errorf("the early chunk of iteration 6: sum %v, error %v, want 42", sum[0], err)
			}
		}
		r.Close()
	}
}

// A chunk that comes again after its sum was taken is found when the next iteration begins.
func TestAChunkAfterItsSum(t *testing.T) {
	m := newMemory(2, MemoryOptions{})
	r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, m.Rank(0), Options{})
	defer r.Close()
	c := wire.Chunk{Iteration: 1, Kind: partial, First: 1, End: 2}
	r.Begin(1)
	r.Start(0, [][]float32{{1}})
	c.Data = wire.Get(1)
	r.deliver(1, c)
	if err := r.Wait(0, make([]float32, 1)); err != nil {
		t.Fatal(err)
	}
	c.Data = wire.Get(1)
	if err := r.deliver(1, c); err != nil {
		t.Fatal(err)
	}
	r.Begin(2)
	if err := r.Wait(0, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "chunk 0 of collective 0 of iteration 1") {
		t.Errorf("error %v, want ErrRefused naming the chunk", err)
	}
}

// A peer that closed in good order is lost to an iteration that it has no part in.
func TestAPeerThatHasLeft(t *testing.T) {
	for rank, closer := range []int{1, 0} { // the owner of the only chunk waits, or has left
		m := newMemory(2, MemoryOptions{})
		r := New(Group{Rank: rank, Ranges: equalRanges(2, 2)}, m.Rank(rank), Options{})
		r.Begin(1)
		r.Start(0, [][]float32{{1}})
		m.Rank(closer).Close(nil)
		if err := r.Wait(0, make([]float32, 1)); !errors.Is(err, ErrPeerLost) || !strings.Contains(err.Error(), m.Rank(rank).Address(closer)) {
			t.Errorf("rank %d after rank %d has left: error %v, want ErrPeerLost with its address", rank, closer, err)
		}
		r.Close()
	}
}

func TestAbortEndsEveryWait(t *testing.T) {
	cause := errors.New("the cause")
	m := newMemory(2, MemoryOptions{})
	r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, m.Rank(0), Options{})
	r.Begin(1)
	r.Start(0, [][]float32{{1}})
	r.Start(1, [][]float32{{1}})
	err := together(3, func(i int) error {
		if i == 2 {
			r.Abort(cause)
		} else if err := r.Wait(uint32(i), make([]float32, 1)); !errors.Is(err, cause) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Errorf("Wait gives %v, want the cause", err)
	}
	r.Abort(errors.New("another"))
	r.Close()
	r.Begin(2)
	r.Start(0, [][]float32{{1}})
	if err := r.Wait(0, nil); !errors.Is(err, cause) {
		t.Errorf("after the end Wait gives %v, want the first cause", err)
	}
}

func TestCloseWithoutWait(t *testing.T) {
	m := newMemory(2, MemoryOptions{})
	r := New(Group{Rank: 0, Ranges: equalRanges(2, 2)}, m.Rank(0), Options{})
	r.Begin(1)
	r.Start(0, [][]float32{{1}})
	r.Close()
	if err := r.Wait(0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait after Close gives %v, want ErrClosed", err)
	}
	if _, err := m.Rank(1).Recv(0); !errors.Is(err, ErrPeerLost) {
		t.Errorf("the peer receives %v, want ErrPeerLost: the collective was not finished", err)
	}
}
