package wire

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// shared is a segment as its owner and as a peer have it.
func shared(t *testing.T) (own, peer *Segment) {
	t.Helper()
	own, err := NewSegment()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	if peer, err = OpenSegment(own.Share()); err != nil {
		t.Fatal(err)
	}
	return own, peer
}

// lent sends a buffer of a segment's as a frame and receives it as the peer does.
func lent(t *testing.T, own, peer *Segment, data *Buffer) *Buffer {
	t.Helper()
	f := Frame{Chunk: Chunk{Iteration: 5, Kind: 1, Index: 7, Data: data}, Lend: own}
	out, err := Codec{}.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	message := out.Materialize()
	out.Free()
	if len(message) > 100 {
		t.Fatalf("the frame has %d bytes: the numbers travel", len(message))
	}
	m := new(ditherv1.ExchangeRequest)
	if err := proto.Unmarshal(message, m); err != nil || m.GetChunk().GetSlot() == 0 || m.GetChunk().GetFloats() == 0 || m.GetChunk().GetChunk() != 7 {
		t.Fatalf("protobuf reads %v, error %v", m, err)
	}
	if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil || !bytes.Equal(again, message) {
		t.Fatalf("marshalled to\n%x, protobuf gives\n%x", message, again)
	}
	in := Frame{Peer: peer}
	if err := (Codec{}).Unmarshal(pieces(message, 3), &in); err != nil {
		t.Fatal(err)
	}
	return in.Chunk.Data
}

// Numbers in a segment are read where they lie, and a slot is used again once everybody gave it back, and not before.
func TestSegment(t *testing.T) {
	before := Outstanding()
	own, peer := shared(t)
	slots := map[int]bool{}
	for round := range 3 {
		var views []*Buffer
		for i := range 10 {
			data := own.Get(leastShared + i)
			if slots[data.slot] = true; data.segment != own {
				t.Fatal("it is not in the segment")
			}
			data.Writable()[leastShared-1] = float32(100*round + i)
			data.Retain(1)
			views = append(views, lent(t, own, peer, data))
			if i%2 == 0 { // its holder here reads it for longer
				defer data.Release()
				continue
			}
			data.Release()
		}
		for i, v := range views {
			if v.Len() != leastShared+i || v.Floats()[leastShared-1] != float32(100*round+i) {
				t.Fatalf("round %d: %d floats, the last %v", round, v.Len(), v.Floats()[leastShared-1])
			}
			mustPanic(t, "a write to a peer's numbers", func() { v.Writable() })
			v.Release()
		}
	}
	if len(slots) != 20 {
		t.Errorf("%d slots for 10 numbers at a time of which 5 a round were kept, want 20", len(slots))
	}
	if n := Outstanding() - before; n != 15 {
		t.Errorf("%d buffers are held, want 15", n)
	}
}

// A segment is bounded: what finds no room, is too small or too large comes from the pool, and so it does where there is no segment.
func TestSegmentIsBounded(t *testing.T) {
	own, _ := shared(t)
	var all []*Buffer
	for range segmentSlots + 3 {
		all = append(all, own.Get(1000))
	}
	for i, b := range all {
		if (b.segment == own) != (i < segmentSlots) {
			t.Fatalf("buffer %d of %d slots: in the segment: %v", i, segmentSlots, b.segment == own)
		}
		b.Release()
	}
	for _, b := range []*Buffer{own.Get(leastShared - 1), own.Get(slotBytes/4 + 1), (*Segment)(nil).Get(1000)} {
		if b.segment != nil {
			t.Errorf("%d floats are in the segment", b.Len())
		}
		b.Release()
	}
}

func TestWhatIsNoSlotIsRefused(t *testing.T) {
	own, peer := shared(t)
	for name, slot := range map[string][2]uint32{
		"slot 0":             {0, 10},
		"too high a slot":    {segmentSlots + 1, 10},
		"too many numbers":   {1, slotBytes/4 + 1},
		"not counted up for": {1, 10},
	} {
		m, _ := proto.Marshal(&ditherv1.ExchangeRequest{Chunk: &ditherv1.Chunk{Kind: 1, Slot: slot[0], Floats: slot[1]}})
		for _, p := range []*Segment{peer, nil} {
			if err := (Codec{}).Unmarshal(pieces(m, 5), &Frame{Peer: p}); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: error %v, want ErrMalformed", name, err)
			}
		}
	}
	runtime.KeepAlive(own)
}

// What is not there, or is something else, is not opened.
func TestOpenRefusesWhatIsNoSegment(t *testing.T) {
	own, _ := shared(t)
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	change := func(f func(*Share)) *Share { s := *own.Share(); f(&s); return &s }
	for name, s := range map[string]*Share{
		"another token":   change(func(s *Share) { s.Token = strings.Repeat("x", tokenBytes) }),
		"a short token":   change(func(s *Share) { s.Token = "" }),
		"other slots":     change(func(s *Share) { s.Slots++ }),
		"other slot size": change(func(s *Share) { s.SlotBytes *= 2 }),
		"any file":        change(func(s *Share) { s.Path = file.Name() }),
		"no memfd":        change(func(s *Share) { s.Path = "/proc/self/fd/0" }),
		"not there":       change(func(s *Share) { s.Path = "/proc/1/fd/987654" }),
	} {
		if _, err := OpenSegment(s); !errors.Is(err, errNoSegment) {
			t.Errorf("%s: error %v, want a refusal", name, err)
		}
	}
	own.Close()
	if _, err := OpenSegment(own.Share()); !errors.Is(err, errNoSegment) {
		t.Errorf("after Close: error %v, want a refusal", err)
	}
}

// mappings is how many maps of segments this process has.
func mappings(t *testing.T) int {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), memfdName)
}

// A segment that nobody can reach any more is unmapped, and one in use is not.
func TestASegmentGoesWithItsLastUse(t *testing.T) {
	own, peer := shared(t)
	data := own.Get(1000)
	data.Writable()[999] = 42
	view := lent(t, own, peer, data)
	own.Close()
	used := mappings(t)
	own, peer = nil, nil
	runtime.GC()
	if view.Floats()[999] != 42 {
		t.Error("the numbers are gone")
	}
	view.Release()
	for begun := time.Now(); mappings(t) >= used; runtime.GC() {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d mappings stay", mappings(t))
		}
	}
}
