//go:build gpu

package cuda

import (
	"fmt"
	"slices"
	"time"

	"gorgonia.org/cu"
)

// Time implements kernel.Timer. The launches are held back while work enqueues them, so that they are recorded at once: between them nobody may allocate or free.
func (s *stream) Time(runs int, work func()) ([]time.Duration, error) {
	var tasks []task
	s.tape = &tasks
	work()
	s.tape = nil
	return s.timed(runs, func() error {
		for i := range tasks {
			if err := tasks[i].enqueue(); err != nil {
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
		if times, err = s.replays(runs, do); err != nil {
			return fmt.Errorf("%v: timing by events: %w", d, err)
		}
		return nil
	})
	slices.Sort(times)
	return times, err
}

// replays is timed, for the owner. All runs are enqueued at once, so that the device is still busy with one when the next is launched.
func (s *stream) replays(runs int, do func() error) (times []time.Duration, err error) {
	if err := s.drain(); err != nil { // what is under way is no part of it
		return nil, err
	}
	graph, err := capture(s, do)
	if err != nil {
		return nil, err
	}
	defer forget(graph)
	marks := make([]cu.Event, runs+1)
	for i := range marks {
		if marks[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return nil, err
		}
		defer cu.DestroyEvent(&marks[i])
	}
	for i := range marks {
		if err := replay(graph, s); err != nil {
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
