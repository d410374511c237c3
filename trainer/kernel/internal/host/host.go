// Package host is the memory and the stream of the kernel sets that compute on the processor: slices, and a queue that is always empty
// because every launch is done when it returns.
package host

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Real is the Go type of a set's Real elements.
type Real interface{ float32 | float64 }

// Memory is one slice, of the type it says; the others are nil.
type Memory[F Real] struct {
	Real []F
	Byte []uint8
	Int  []int32
	kind kernel.Type
}

// alignment is that of the contract: a cache line, and the widest vector.
const alignment = 64

// most is the elements above which a request is a mistake.
const most = 1 << 40

// large is the bytes from which on it is worth asking the system what is free.
const large = 64 << 20

// Alloc gives n zeroed elements, aligned.
func Alloc[F Real](t kernel.Type, n int) (*Memory[F], error) {
	var real F
	size := map[kernel.Type]int{kernel.Real: int(unsafe.Sizeof(real)), kernel.Byte: 1, kernel.Int: 4}[t] // a host computes with no Half
	if size == 0 || n < 0 || n > most {
		return nil, fmt.Errorf("allocating %d elements of type %d: no memory has so many", n, t)
	}
	if n*size >= large {
		if free, known := available(); known && n*size > free {
			return nil, &kernel.NoMemory{Asked: int64(n * size), Free: int64(free)}
		}
	}
	m := &Memory[F]{kind: t}
	switch t {
	case kernel.Real:
		m.Real = aligned[F](n)
	case kernel.Byte:
		m.Byte = aligned[uint8](n)
	case kernel.Int:
		m.Int = aligned[int32](n)
	}
	return m, nil
}

// aligned gives n zeroed elements that begin at a multiple of the alignment, which Go's allocator does not promise.
func aligned[E any](n int) []E {
	var e E
	size := unsafe.Sizeof(e)
	s := make([]E, n+alignment/int(size))
	preferHuge(s)
	off := (alignment - uintptr(unsafe.Pointer(unsafe.SliceData(s)))%alignment) % alignment / size
	return s[off : int(off)+n : int(off)+n]
}

// available is the memory that the system could still give, in bytes, where it says so.
func available() (free int, known bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, true
		}
	}
	return 0, false
}

// Type implements kernel.Memory.
func (m *Memory[F]) Type() kernel.Type { return m.kind }

// Len implements kernel.Memory.
func (m *Memory[F]) Len() int { return len(m.Real) + len(m.Byte) + len(m.Int) }

// Slice implements kernel.Memory.
func (m *Memory[F]) Slice(from, to int) kernel.Memory {
	s := &Memory[F]{kind: m.kind}
	switch m.kind {
	case kernel.Real:
		s.Real = m.Real[from:to:to]
	case kernel.Byte:
		s.Byte = m.Byte[from:to:to]
	case kernel.Int:
		s.Int = m.Int[from:to:to]
	}
	return s
}

// Of is a memory that one of these sets allocated; any other is a broken invariant.
func Of[F Real](m kernel.Memory) *Memory[F] {
	own, ok := m.(*Memory[F])
	if !ok {
		panic(fmt.Sprintf("kernel: %T is another set's memory", m))
	}
	return own
}
