//go:build gpu

package cuda

import (
	"fmt"
	"runtime"

	"github.com/dither-ml/dither/trainer/kernel"
)

// recording is what was enqueued on a stream that taped it. Its first replay enqueues it piece by piece, which loads the kernels, and captures a graph while that runs; from then on a replay is one call of
// the driver's.
type recording struct {
	stream   *stream
	what     string
	do       func() // holds the memory that the tape touches
	tape     []task
	calls    int  // of the driver's, for all of the tape
	computes bool // it launches something

	graph *graph // the owner's
}

// graph is apart from its recording, to be given back after it.
type graph struct{ c graphHandle }

// Record implements kernel.Stream.
func (s *stream) Record(what string, do func()) kernel.Recording {
	if s.tape != nil {
		panic("kernel: a recording within a recording")
	}
	r := &recording{stream: s, what: what, do: do, graph: &graph{}}
	s.tape = &r.tape
	defer func() { s.tape = nil }()
	do()
	for i := range r.tape {
		if k := r.tape[i].kernel; k != nil {
			r.calls, r.computes = r.calls+len(k.launches), true
		} else {
			r.calls++
		}
	}
	d := s.device
	runtime.AddCleanup(r, func(g *graph) {
		d.enqueue(func() error {
			if g.c == nil {
				return nil
			}
			return forget(g.c) // what runs of it ends first
		}, "giving a graph back")
	}, r.graph)
	return r
}

// Replay implements kernel.Recording.
func (r *recording) Replay() {
	if r.stream.tape != nil {
		panic("kernel: a recording within a recording")
	}
	r.stream.device.put(task{replay: r, stream: r.stream})
}

// String names it with its first launch and its last, of which an error may be.
func (r *recording) String() string {
	if len(r.tape) == 0 {
		return r.what
	}
	return fmt.Sprintf("%s (%d calls, from %v to %v)", r.what, r.calls, &r.tape[0], &r.tape[len(r.tape)-1])
}

// enqueue replays it, for the owner.
func (r *recording) enqueue() (err error) {
	if r.graph.c != nil {
		return replay(r.graph.c, r.stream)
	}
	if err := r.pieces(); err != nil || r.calls < 2 {
		return err
	}
	if r.graph.c, err = capture(r.stream, r.pieces); err != nil {
		return fmt.Errorf("making a graph: %w", err)
	}
	return nil
}

// pieces enqueues all that is on the tape.
func (r *recording) pieces() error {
	for i := range r.tape {
		if err := r.tape[i].enqueue(); err != nil {
			return fmt.Errorf("%v: %w", &r.tape[i], err)
		}
	}
	return nil
}
