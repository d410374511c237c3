package wire

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A segment is sparse: of its slots only those cost memory that were used, and the ones given back last are used first.
const (
	segmentSlots = 256
	slotBytes    = 256 << 10
	tokenBytes   = 32
	countsAt     = 64       // in the first page
	dataAt       = 64 << 10 // where the slots begin: a multiple of every page size in use, with room for the counts before it
	segmentBytes = dataAt + segmentSlots*slotBytes
	leastShared  = 256 // floats; fewer travel as well as the place where they lie
)

// errNoSegment is why a process shares no memory.
var errNoSegment = errors.New("no memory to share")

// Share says how a peer opens a Segment. See dither.v1.Segment.
type Share struct {
	Path             string
	Token            string
	Slots, SlotBytes uint32
}

// Segment is memory that processes of one host share, one of which it belongs to: that writes numbers into its slots, and the others read them there and count down
// when they are done. Nobody has to be asked or told for a slot to be free again. It is unmapped once nobody can reach it any more, and has no name that could stay behind.
type Segment struct {
	share  Share
	head   []byte // token and counts, which everyone writes
	counts []atomic.Int32
	data   []byte // the slots

	// Of the owner:
	mu     sync.Mutex
	fresh  int   // slots that were never used begin here
	free   []int // used and given back
	lent   []int // held by nobody here any more, but by peers
	closer func()
}

// Share says how to open the segment.
func (s *Segment) Share() *Share { return &s.share }

// mapped makes a Segment of its parts, which are unmapped when it is not used any more.
func mapped(share Share, head, data []byte, unmap func(head, data []byte)) *Segment {
	s := &Segment{share: share, head: head, data: data, counts: unsafe.Slice((*atomic.Int32)(unsafe.Pointer(&head[countsAt])), segmentSlots)}
	runtime.AddCleanup(s, func(parts [2][]byte) { unmap(parts[0], parts[1]) }, [2][]byte{head, data})
	return s
}

// Get gives a buffer of n floats in the owner's segment; where there is none (a nil Segment), or no room, or it is not worth it, one from the pool.
func (s *Segment) Get(n int) *Buffer {
	if s == nil || n < leastShared || 4*n > slotBytes {
		return Get(n)
	}
	slot, ok := s.take()
	if !ok {
		return Get(n)
	}
	return s.buffer(slot, n, false)
}

func (s *Segment) take() (slot int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		s.lent = slices.DeleteFunc(s.lent, func(slot int) bool {
			back := s.counts[slot].Load() <= 0
			if back {
				s.free = append(s.free, slot)
			}
			return back
		})
	}
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
		return slot, true
	}
	if s.fresh == segmentSlots {
		return 0, false
	}
	s.fresh++
	return s.fresh - 1, true
}

// View gives a buffer of the n floats that lie in a slot of a peer's segment, counted from 1: one of those that the peer has counted up for.
func (s *Segment) View(slot, n uint32) (*Buffer, error) {
	defer runtime.KeepAlive(s)
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: numbers in slot %d of a segment that is not open", ErrMalformed, slot)
	case slot < 1 || slot > segmentSlots || n > slotBytes/4:
		return nil, fmt.Errorf("%w: %d numbers in slot %d, of %d slots of %d bytes", ErrMalformed, n, slot, segmentSlots, slotBytes)
	case s.counts[slot-1].Load() <= 0:
		return nil, fmt.Errorf("%w: slot %d, which nobody has counted up for", ErrMalformed, slot)
	}
	return s.buffer(int(slot-1), int(n), true), nil
}

// headers of buffers whose memory is not from the pools
var loose = sync.Pool{New: func() any { return new(Buffer) }}

func (s *Segment) buffer(slot, n int, view bool) *Buffer {
	b := loose.Get().(*Buffer)
	at := s.data[slot*slotBytes:][:slotBytes:slotBytes]
	b.memory, b.bytes = unsafe.Slice((*float32)(unsafe.Pointer(&at[0])), slotBytes/4), at[:4*n]
	b.segment, b.slot, b.fixed = s, slot, view
	b.refs.Store(1)
	outstanding.Add(1)
	return b
}

// release takes back a buffer that nobody here holds any more.
func (s *Segment) release(b *Buffer) {
	defer runtime.KeepAlive(s)
	if b.fixed {
		s.counts[b.slot].Add(-1)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[b.slot].Load() <= 0 {
		s.free = append(s.free, b.slot)
	} else {
		s.lent = append(s.lent, b.slot)
	}
}

// Close lets nobody open the segment any more. What is mapped stays as long as it is used.
func (s *Segment) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closer != nil {
		s.closer()
		s.closer = nil
	}
}

// Borrow makes a buffer of floats that belong to somebody else, who leaves them alone until its last release.
func Borrow(floats []float32) *Buffer {
	b := loose.Get().(*Buffer)
	b.memory, b.fixed = floats, true
	b.bytes = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(floats))), 4*len(floats))
	b.refs.Store(1)
	outstanding.Add(1)
	return b
}
