//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"gorgonia.org/cu"
)

// Time implements kernel.Timer. The launches are held back while work enqueues them, so that they are recorded at once: between them nobody may allocate or free.
func (s *stream) Time(runs int, work func()) ([]time.Duration, error) {
	var tasks []task
	s.held = &tasks
	work()
	s.held = nil
	return s.timed(runs, func() error {
		for i := range tasks {
			if err := tasks[i].kernel.launch(s, &tasks[i].args); err != nil {
				return err
			}
		}
		return nil
	})
}

// timed has the owner record what do enqueues, and times it.
func (s *stream) timed(runs int, do func() error) (times []time.Duration, err error) {
	d := s.device
	err = d.call(func() error {
		if d.err != nil {
			return d.err
		}
		if times, err = s.replay(runs, do); err != nil {
			return fmt.Errorf("%v: timing by events: %w", d, err)
		}
		return nil
	})
	slices.Sort(times)
	return times, err
}

// replay is timed, for the owner. All runs are enqueued at once, so that the device is still busy with one when the next is launched.
func (s *stream) replay(runs int, do func() error) (times []time.Duration, err error) {
	if err := s.drain(); err != nil { // what is under way is no part of it
		return nil, err
	}
	graph, err := s.capture(do)
	if err != nil {
		return nil, err
	}
	defer C.cuGraphExecDestroy(graph)
	marks := make([]cu.Event, runs+1)
	for i := range marks {
		if marks[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return nil, err
		}
		defer cu.DestroyEvent(&marks[i])
	}
	for i := range marks {
		if err := outcome(C.cuGraphLaunch(graph, s.handle())); err != nil {
			return nil, err
		}
		if err := marks[i].Record(s.queue); err != nil {
			return nil, err
		}
	}
	if err := s.drain(); err != nil {
		return nil, err
	}
	for i := range runs {
		ms, err := marks[i].Elapsed(marks[i+1])
		if err != nil {
			return nil, err
		}
		times = append(times, time.Duration(ms*1e6))
	}
	return times, nil
}

// capture makes a graph of what do enqueues. Other threads may ask the driver for what they like meanwhile.
func (s *stream) capture(do func() error) (C.CUgraphExec, error) {
	if err := outcome(C.cuStreamBeginCapture(s.handle(), C.CU_STREAM_CAPTURE_MODE_RELAXED)); err != nil {
		return nil, err
	}
	failed := do()
	var graph C.CUgraph
	if err := outcome(C.cuStreamEndCapture(s.handle(), &graph)); failed == nil {
		failed = err
	}
	if failed != nil {
		return nil, failed
	}
	defer C.cuGraphDestroy(graph)
	var exec C.CUgraphExec
	return exec, outcome(C.cuGraphInstantiate(&exec, graph, 0))
}

// handle is the queue as this package's cgo names its type.
func (s *stream) handle() C.CUstream { return *(*C.CUstream)(unsafe.Pointer(&s.queue)) }

// outcome is a result of the driver's as an error.
func outcome(code C.CUresult) error {
	if code == C.CUDA_SUCCESS {
		return nil
	}
	var name *C.char
	C.cuGetErrorName(code, &name)
	return errors.New(C.GoString(name))
}
