//go:build gpu

package cuda

import (
	"errors"
	"fmt"
	"runtime"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// memory is some elements of a piece of the device's memory.
type memory struct {
	*piece // keeps it allocated
	kind   kernel.Type
	at     cu.DevicePtr
	n      int
}

// piece is what was allocated at once. It is freed when no memory of it is left.
type piece struct {
	device *device
	base   cu.DevicePtr
}

// most is the elements above which a request is a mistake.
const most = 1 << 40

// sizes are the bytes of an element.
var sizes = [...]int{kernel.Real: kernel.Real.Size(), kernel.Byte: kernel.Byte.Size(), kernel.Int: kernel.Int.Size(), kernel.Half: kernel.Half.Size()}

func (d *device) alloc(t kernel.Type, n int) (*memory, error) {
	if int(t) >= len(sizes) || n < 0 || n > most {
		return nil, fmt.Errorf("allocating %d elements of type %d: no memory has so many", n, t)
	}
	bytes := int64(max(n*sizes[t], 1))
	p, err := d.claim(bytes, nil)
	if errors.Is(err, cu.OutOfMemory) {
		// Go's collector knows nothing of the device's memory: what nobody holds any more may not have been given back. The last recording holds all that it touches.
		_ = d.call(func() error {
			d.last = nil
			return nil
		})
		runtime.GC()
		p, err = d.claim(bytes, d.holds.garbage())
	}
	if err != nil {
		return nil, err
	}
	return &memory{p, t, p.base, n}, nil
}

// claim allocates zeros, once garbage is freed.
func (d *device) claim(bytes int64, garbage []*held) (*piece, error) {
	p := &piece{device: d}
	err := d.call(func() (err error) {
		for _, h := range garbage {
			d.fail(d.free(h), "freeing memory")
		}
		if p.base, err = cu.MemAlloc(bytes); err != nil {
			return d.full(bytes, err)
		}
		d.taken(bytes)
		if err := cu.MemsetD8(p.base, 0, bytes); err != nil {
			return fmt.Errorf("%v: clearing %d bytes: %w", d, bytes, err)
		}
		return cu.Synchronize() // no stream waits for it
	})
	if err != nil {
		return nil, err
	}
	h := d.holds.add(p, bytes)
	later(d, p, func() error { return d.free(h) }, "freeing memory")
	return p, nil
}

// full says what was asked for and what is free.
func (d *device) full(bytes int64, err error) error {
	if !errors.Is(err, cu.OutOfMemory) {
		return fmt.Errorf("%v: allocating %d bytes: %w", d, bytes, err)
	}
	free, _, err2 := cu.MemInfo()
	if err2 != nil {
		return fmt.Errorf("%v: allocating %d bytes: %w", d, bytes, err)
	}
	return &kernel.NoMemory{Where: d.String(), Asked: bytes, Free: free, Err: err}
}

// Type implements kernel.Memory.
func (m *memory) Type() kernel.Type { return m.kind }

// Len implements kernel.Memory.
func (m *memory) Len() int { return m.n }

// Slice implements kernel.Memory.
func (m *memory) Slice(from, to int) kernel.Memory {
	if from < 0 || to < from || to > m.n {
		panic(fmt.Sprintf("kernel: elements [%d, %d) of %d", from, to, m.n))
	}
	return &memory{m.piece, m.kind, m.at + cu.DevicePtr(from*sizes[m.kind]), to - from}
}

// own is a memory of the device; any other is a broken invariant.
func (d *device) own(m kernel.Memory) *memory {
	own, ok := m.(*memory)
	if !ok || own.device != d {
		panic(fmt.Sprintf("kernel: %T is another set's memory", m))
	}
	return own
}
