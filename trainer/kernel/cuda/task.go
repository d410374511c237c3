//go:build gpu

package cuda

import "gorgonia.org/cu"

// task is something to enqueue on a stream, or any other call. It is passed by value, so that a step does not allocate.
type task struct {
	stream *stream
	kernel *prepared              // a launch,
	args   [mostArgs]cu.DevicePtr // on these
	copy   copying                // a copy from or to pinned memory
	replay *recording             //
	mark   *mark                  // to be waited for
	since  uint64                 // as it was set for so many times,
	set    uint64                 // or set for so many times now

	call  func() error
	what  string     // that call does, if nobody waits for it
	reply chan error // of who waits
}

// enqueued enqueues a task, and keeps what a failure may be of.
func (d *device) enqueued(t *task) {
	switch {
	case t.kernel != nil:
		d.last = t.kernel
	case t.replay != nil && t.replay.computes:
		d.last = t.replay
	}
	if err := t.enqueue(); err != nil {
		what := t.String()
		if knownOf(err).late {
			what = d.upTo()
		}
		d.fail(err, what)
	}
}

func (t *task) enqueue() error {
	switch {
	case t.kernel != nil:
		return t.kernel.launch(t.stream, &t.args)
	case t.replay != nil:
		return t.replay.enqueue()
	case t.mark != nil:
		return t.mark.enqueue(t.stream, t.set, t.since)
	}
	return t.copy.enqueue(t.stream)
}

func (t *task) String() string {
	switch {
	case t.kernel != nil:
		return t.kernel.String()
	case t.replay != nil:
		return t.replay.String()
	case t.mark != nil:
		return "an event"
	}
	return t.copy.String()
}
