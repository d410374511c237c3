//go:build gpu

package cuda

import (
	"fmt"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// stream is a queue of the device's. Copies go through pinned memory, so that the device makes them while the host goes on.
type stream struct {
	device *device
	queue  cu.Stream
	tape   *[]task // where a recording wants what is enqueued; nil: it is for the device

	// The owner's.
	staging []byte  // pinned; nil: none is needed
	used    int     // bytes of it that copies under way need
	reads   []fetch // that are complete once the queue is
}

func (d *device) newStream() *stream {
	s := &stream{device: d}
	if err := d.call(func() (err error) {
		s.queue, err = cu.MakeStream(cu.NonBlocking)
		d.fail(err, "making a stream")
		return err
	}); err == nil {
		queue := s.queue
		later(d, s, func() error { return queue.Destroy() }, "giving a stream back")
	}
	return s
}

// put enqueues a task, or tapes it.
func (s *stream) put(t task) {
	if s.tape != nil {
		*s.tape = append(*s.tape, t)
		return
	}
	s.device.put(t)
}

// fetch is numbers on their way to the host.
type fetch struct {
	from []byte
	to   any
	at   int // element of it
	kind kernel.Type
}

// staged is the bytes of pinned memory of a stream; larger copies go in pieces.
const staged = 8 << 20

// stage is pinned memory that no stream needs now, for the owner.
func (d *device) stage() (memory []byte, err error) {
	if n := len(d.spare); n > 0 {
		memory, d.spare = d.spare[n-1], d.spare[:n-1]
		return memory, nil
	}
	return pinned(staged)
}

// Write implements kernel.Stream.
func (s *stream) Write(dst kernel.Memory, src any) {
	m := s.device.own(dst)
	if p, ok := src.(*kernel.Pinned); ok {
		s.put(s.pinnedCopy(m, p, true))
		runtime.KeepAlive(p) // until then: what frees them comes after
		runtime.KeepAlive(m)
		return
	}
	s.device.untaped(s)
	size := fits(m, src)
	s.device.enqueue(func() error {
		return s.pieces(m, size, func(piece []byte, at cu.DevicePtr, from int) error {
			stage(piece, src, from, m.kind)
			return cu.MemcpyHtoDAsync(at, unsafe.Pointer(&piece[0]), int64(len(piece)), s.queue)
		})
	}, "writing to the device")
}

// Read implements kernel.Stream.
func (s *stream) Read(dst any, src kernel.Memory) {
	m := s.device.own(src)
	if p, ok := dst.(*kernel.Pinned); ok {
		s.put(s.pinnedCopy(m, p, false))
		runtime.KeepAlive(p)
		runtime.KeepAlive(m)
		return
	}
	s.device.untaped(s)
	size := fits(m, dst)
	s.device.enqueue(func() error {
		return s.pieces(m, size, func(piece []byte, at cu.DevicePtr, from int) error {
			s.reads = append(s.reads, fetch{piece, dst, from, m.kind})
			return cu.MemcpyDtoHAsync(unsafe.Pointer(&piece[0]), at, int64(len(piece)), s.queue)
		})
	}, "reading from the device")
}

// pieces calls do for pieces of m, each with as many bytes of pinned memory.
func (s *stream) pieces(m *memory, size int, do func(piece []byte, at cu.DevicePtr, from int) error) (err error) {
	if s.staging == nil {
		if s.staging, err = s.device.stage(); err != nil {
			return err
		}
	}
	for from := 0; from < m.n; {
		if len(s.staging)-s.used < size {
			if err := s.drain(); err != nil {
				return err
			}
		}
		n := min(m.n-from, (len(s.staging)-s.used)/size)
		piece := s.staging[s.used : s.used+n*size]
		s.used = min(s.used+(n*size+15)/16*16, len(s.staging))
		if err := do(piece, m.at+cu.DevicePtr(from*size), from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// drain waits for the queue and hands over what was read.
func (s *stream) drain() error {
	if err := s.queue.Synchronize(); err != nil {
		return err
	}
	for i, r := range s.reads {
		unstage(r.from, r.to, r.at, r.kind)
		s.reads[i] = fetch{}
	}
	s.reads, s.used = s.reads[:0], 0
	return nil
}

// Sync implements kernel.Stream.
func (s *stream) Sync() error {
	d := s.device
	return d.call(func() error {
		if d.err == nil {
			if err := s.drain(); err != nil {
				d.fail(err, d.upTo())
			}
			if d.err == nil && s.staging != nil {
				d.spare, s.staging = append(d.spare, s.staging), nil
			}
		}
		return d.err
	})
}

// Host implements kernel.Stream: the device's memory is its own.
func (*stream) Host(kernel.Memory) []float32 { return nil }

// fits holds that host is of m's type and length, and gives the bytes of an element.
func fits(m *memory, host any) int {
	n, kind := -1, kernel.Real
	if m.kind == kernel.Half {
		kind = kernel.Half
	}
	switch v := host.(type) {
	case []float32:
		n = len(v)
	case []float64:
		n = len(v)
	case []uint8:
		n, kind = len(v), kernel.Byte
	case []int32:
		n, kind = len(v), kernel.Int
	}
	if n != m.n || kind != m.kind {
		panic(fmt.Sprintf("kernel: copy between %d elements of type %d and %T of %d", m.n, m.kind, host, n))
	}
	return sizes[kind]
}

// as is bytes as numbers of another type.
func as[E any](bytes []byte) []E {
	var e E
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(bytes))), len(bytes)/int(unsafe.Sizeof(e)))
}

// stage copies the host's numbers from element `from` on into pinned memory.
func stage(piece []byte, host any, from int, kind kernel.Type) {
	if kind == kernel.Half {
		stageHalf(as[uint16](piece), host, from)
		return
	}
	switch v := host.(type) {
	case []float32:
		copy(as[float32](piece), v[from:])
	case []float64:
		numbers := as[float32](piece)
		for i := range numbers {
			numbers[i] = float32(v[from+i])
		}
	case []uint8:
		copy(piece, v[from:])
	case []int32:
		copy(as[int32](piece), v[from:])
	}
}

// unstage is its inverse.
func unstage(piece []byte, host any, from int, kind kernel.Type) {
	if kind == kernel.Half {
		unstageHalf(as[uint16](piece), host, from)
		return
	}
	switch v := host.(type) {
	case []float32:
		copy(v[from:], as[float32](piece))
	case []float64:
		for i, x := range as[float32](piece) {
			v[from+i] = float64(x)
		}
	case []uint8:
		copy(v[from:], piece)
	case []int32:
		copy(v[from:], as[int32](piece))
	}
}
