//go:build gpu

package cuda

/*
#include <cuda.h>

// The thread is anybody's: the context becomes its own with the call.
static CUresult dither_wait(CUcontext context, CUevent event) {
	CUresult r = cuCtxSetCurrent(context);
	return r == CUDA_SUCCESS ? cuEventSynchronize(event) : r;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/dither-ml/dither/trainer/kernel"
)

// mark is an event of the driver's. Who waits for it need not go through the queue, which others fill meanwhile.
type mark struct {
	device *device
	event  *event
	told   chan told // the last that the owner said
	sets   uint64    // so often was it set,
	waited uint64    // and waited for
	err    error     // that Wait gave, and gives from then on

	crossed uint64 // of another device's owner, whose stream waits: so often was it set
}

// event is made by the owner when a mark is first set.
type event struct{ c C.CUevent }

// told is that a mark was set for the n-th time.
type told struct {
	n   uint64
	err error
}

// NewMark implements kernel.Stream.
func (s *stream) NewMark() kernel.Mark {
	d := s.device
	m := &mark{device: d, event: &event{}, told: make(chan told, 1)}
	runtime.AddCleanup(m, func(e *event) {
		d.enqueue(func() error {
			if e.c == nil {
				return nil
			}
			return result(C.cuEventDestroy(e.c))
		}, "giving an event back")
	}, m.event)
	return m
}

// Set implements kernel.Mark.
func (m *mark) Set(s kernel.Stream) {
	m.sets++
	m.device.put(task{mark: m, set: m.sets, stream: m.device.untaped(s)})
}

// Before implements kernel.Mark. s may be another device's.
func (m *mark) Before(s kernel.Stream) {
	if m.sets == 0 {
		return
	}
	d := m.device
	if own, ok := s.(*stream); ok {
		d = own.device
	}
	d.put(task{mark: m, stream: d.untaped(s), since: m.sets})
}

// untaped is a stream of the device's that records nothing now.
func (d *device) untaped(s kernel.Stream) *stream {
	own, ok := s.(*stream)
	if !ok || own.device != d || own.tape != nil {
		panic(fmt.Sprintf("kernel: %T is another set's stream, or records", s))
	}
	return own
}

// enqueue sets the mark or has s wait for it, for the owner of the device of s.
func (m *mark) enqueue(s *stream, set, since uint64) error {
	if set == 0 {
		if s.device != m.device {
			if err := m.cross(since); err != nil {
				return err
			}
		}
		return result(C.cuStreamWaitEvent(handle(s), m.event.c, 0))
	}
	if m.event.c == nil {
		if err := result(C.cuEventCreate(&m.event.c, C.CU_EVENT_DISABLE_TIMING)); err != nil {
			return err
		}
	}
	return result(C.cuEventRecord(m.event.c, handle(s)))
}

// cross waits until the owner of the mark's device has set it so often: to the driver, an event that was not recorded yet is one that nobody need wait for. Owners never wait in a circle: what one waits for was given out before
// the waiting was, by one goroutine.
func (m *mark) cross(since uint64) error {
	for m.crossed < since {
		select {
		case t := <-m.told:
			if t.err != nil {
				return &elsewhere{t.err}
			}
			m.crossed = t.n
		case <-m.device.ended:
			return errClosed
		}
	}
	return nil
}

// elsewhere is what went wrong on another device, in that device's words.
type elsewhere struct{ error }

// tell says that it was set for the n-th time, for the owner.
func (m *mark) tell(n uint64, err error) {
	select {
	case <-m.told: // nobody waited for that
	default:
	}
	m.told <- told{n, err}
}

// Wait implements kernel.Mark.
func (m *mark) Wait() error {
	for m.err == nil && m.waited < m.sets {
		select {
		case t := <-m.told:
			m.waited, m.err = t.n, t.err
		case <-m.device.ended:
			return errClosed
		}
	}
	if m.err != nil || m.event.c == nil { // it was never set
		return m.err
	}
	err := result(C.dither_wait(m.device.context, m.event.c))
	if err == nil {
		return nil
	}
	m.err = m.device.call(func() error {
		m.device.fail(err, m.device.upTo())
		return m.device.err
	})
	return m.err
}

var errClosed = errors.New("the kernel set is closed")
