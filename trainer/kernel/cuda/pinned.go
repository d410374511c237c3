//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// pinned gives host memory that the device copies to and from by itself, which gorgonia.org/cu does not; for the owner. It lives as long as the context, or until it is unpinned.
func pinned(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if err := result(C.cuMemAllocHost(&p, C.size_t(bytes))); err != nil {
		return nil, fmt.Errorf("allocating %d bytes of pinned memory: %w", bytes, err)
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// Pin implements kernel.Stream. The memory is given back when nothing holds the Pinned.
func (s *stream) Pin(t kernel.Type, n int) (*kernel.Pinned, error) {
	if int(t) >= len(sizes) || n < 0 || n > most {
		return nil, fmt.Errorf("pinning %d elements of type %d: no memory has so many", n, t)
	}
	var bytes []byte
	d := s.device
	if err := d.call(func() (err error) {
		bytes, err = pinned(max(n*sizes[t], 1))
		return err
	}); err != nil {
		return nil, err
	}
	clear(bytes)
	p := &kernel.Pinned{}
	switch kept := bytes[:n*sizes[t]]; t {
	case kernel.Real:
		p.Host = as[float32](kept)
	case kernel.Byte:
		p.Host = kept
	case kernel.Int:
		p.Host = as[int32](kept)
	}
	runtime.AddCleanup(p, func(at unsafe.Pointer) {
		d.enqueue(func() error {
			if err := cu.Synchronize(); err != nil { // what copies was enqueued before
				return err
			}
			return result(C.cuMemFreeHost(at))
		}, "giving pinned memory back")
	}, unsafe.Pointer(unsafe.SliceData(bytes)))
	return p, nil
}

// copying is a copy between memory and pinned memory or another device's, of so many bytes.
type copying struct {
	host   unsafe.Pointer
	memory cu.DevicePtr
	bytes  int64
	up     bool         // to the device
	source *device      // it is from there; nil: it is between memory and host
	from   cu.DevicePtr // there
}

func (c copying) String() string {
	if c.source != nil {
		return fmt.Sprintf("a copy of %d bytes from %v", c.bytes, c.source)
	}
	if c.up {
		return fmt.Sprintf("a copy of %d bytes to the device", c.bytes)
	}
	return fmt.Sprintf("a copy of %d bytes from the device", c.bytes)
}

// pinnedCopy is a copy that fits, as a task.
func (s *stream) pinnedCopy(m *memory, p *kernel.Pinned, up bool) task {
	size := fits(m, p.Host)
	var at unsafe.Pointer
	switch v := p.Host.(type) {
	case []float32:
		at = unsafe.Pointer(unsafe.SliceData(v))
	case []uint8:
		at = unsafe.Pointer(unsafe.SliceData(v))
	case []int32:
		at = unsafe.Pointer(unsafe.SliceData(v))
	default:
		panic(fmt.Sprintf("kernel: %T is no pinned memory of this set", v))
	}
	return task{copy: copying{host: at, memory: m.at, bytes: int64(m.n * size), up: up}, stream: s}
}

// enqueue makes it the stream's, for the owner.
func (c *copying) enqueue(s *stream) error {
	if c.source != nil {
		return c.fetch(s)
	}
	if c.up {
		return cu.MemcpyHtoDAsync(c.memory, c.host, c.bytes, s.queue)
	}
	return cu.MemcpyDtoHAsync(c.host, c.memory, c.bytes, s.queue)
}
