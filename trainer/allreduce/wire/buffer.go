// Package wire is the form in which the chunks of an all-reduce travel: pooled buffers whose ownership is counted, and a gRPC codec that puts them on a stream
// without copying. On the wire it is plain protobuf (dither.v1.ExchangeRequest and ExchangeResponse), so a peer that knows only the .proto files can take part.
package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// minFloats is the least that a buffer's memory holds: gRPC tells when it is done with a buffer only if that is larger than 1 KiB.
const minFloats = 512

// Buffer is a piece of memory for float32s, from a pool, from a segment that is shared with other processes, or borrowed. Its references are counted: whoever holds one releases it once, and the last release gives the memory
// back to the pool. Use after that, and one release too many, panic.
type Buffer struct {
	refs   atomic.Int32
	memory []float32 // a power of two of them, at least minFloats
	bytes  []byte    // the same memory, its first 4*Len() bytes

	// Of one whose memory is not the pool's:
	segment *Segment // where it lies; nil: it is borrowed
	slot    int
	fixed   bool // not to be written: a peer's or borrowed
}

var (
	pools       [48]sync.Pool // by log2 of the memory's length
	outstanding atomic.Int64
)

// Outstanding is how many buffers are held: what leaks show up in.
func Outstanding() int64 { return outstanding.Load() }

// Get gives a buffer of n float32s, unset, with one reference, which is the caller's.
func Get(n int) *Buffer {
	class := bits.Len(uint(max(n, minFloats) - 1))
	b, _ := pools[class].Get().(*Buffer)
	if b == nil {
		b = &Buffer{memory: make([]float32, 1<<class)}
	}
	if !b.refs.CompareAndSwap(0, 1) {
		panic("allreduce: a buffer in the pool is in use")
	}
	b.bytes = unsafe.Slice((*byte)(unsafe.Pointer(&b.memory[0])), 4*len(b.memory))[:4*n]
	outstanding.Add(1)
	return b
}

// Len is how many float32s the buffer holds.
func (b *Buffer) Len() int { return len(b.bytes) / 4 }

// Floats are the buffer's numbers, to be read by everyone who holds a reference.
func (b *Buffer) Floats() []float32 {
	if b.refs.Load() <= 0 {
		panic("allreduce: use of a buffer after its release")
	}
	return b.memory[:b.Len()]
}

// Fixed says that the buffer's numbers are not ours to change, whoever holds it.
func (b *Buffer) Fixed() bool { return b.fixed }

// Writable are the buffer's numbers for its only holder, who may change them.
func (b *Buffer) Writable() []float32 {
	if b.fixed {
		panic("allreduce: write to a buffer that is a peer's or borrowed")
	}
	if n := b.refs.Load(); n != 1 {
		panic(fmt.Sprintf("allreduce: write to a buffer with %d references", n))
	}
	return b.memory[:b.Len()]
}

// Retain adds n references.
func (b *Buffer) Retain(n int) {
	if b.refs.Add(int32(n)) <= int32(n) {
		panic("allreduce: retain of a buffer after its release")
	}
}

// Release gives up one reference.
func (b *Buffer) Release() {
	switch refs := b.refs.Add(-1); {
	case refs < 0:
		panic("allreduce: release of a buffer that nobody holds")
	case refs == 0:
		outstanding.Add(-1)
		if b.segment != nil {
			b.segment.release(b)
		}
		if b.fixed || b.segment != nil {
			b.memory, b.bytes, b.segment, b.fixed = nil, nil, nil, false
			loose.Put(b)
			return
		}
		pools[bits.Len(uint(len(b.memory)-1))].Put(b)
	}
}

// release is a Buffer seen by gRPC: a pool to whom the bytes go back once they are written.
type release Buffer

func (*release) Get(int) *[]byte { panic("allreduce: a single buffer is no pool to take from") }
func (r *release) Put(*[]byte)   { (*Buffer)(r).Release() }

// littleEndian says that the host's float32s lie in memory as they travel.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// reverse turns each 4 bytes of b round: from a big-endian host's order to the wire's, or back.
func reverse(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		binary.LittleEndian.PutUint32(b, binary.BigEndian.Uint32(b))
	}
}
