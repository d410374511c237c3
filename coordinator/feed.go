package coordinator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// feed is the events of an execution, for those who watch it. Events lie in a file without a name, not in memory; each watcher reads at its
// own pace from wherever it is. So nobody who watches holds training up, nobody loses an event, and memory does not grow with the run. Where the
// disk takes no more (it is full), the newest of the events that follow are kept in memory: above all the result.
type feed struct {
	mu      sync.Mutex
	file    *os.File
	size    int64                     // bytes of whole events
	last    int64                     // where the last of them begins
	full    bool                      // the file takes no more
	rest    []*ditherv1.WatchResponse // the newest that it did not take,
	gone    int                       // after so many older ones
	ended   bool                      // no event will follow
	changed chan struct{}             // closed and replaced at each change
}

// mostRest is how many events are kept in memory at least, once they are as many; at most twice that.
const mostRest = 4096

// place is one between two events.
type place struct {
	bytes int64 // of the file
	rest  int   // events that it did not take
}

func newFeed(dir string) (*feed, error) {
	f, err := os.CreateTemp(dir, ".events-*")
	if err != nil {
		return nil, fmt.Errorf("making room for the run's events: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("making room for the run's events: %w", err)
	}
	return &feed{file: f, changed: make(chan struct{})}, nil
}

// append adds an event.
func (f *feed) append(e *ditherv1.WatchResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	defer f.wake()
	if !f.full {
		n, err := protodelim.MarshalTo(io.NewOffsetWriter(f.file, f.size), e)
		if err == nil {
			f.last, f.size = f.size, f.size+int64(n)
			return
		}
		f.full = true
	}
	if f.rest = append(f.rest, proto.CloneOf(e)); len(f.rest) > 2*mostRest {
		f.rest, f.gone = slices.Delete(f.rest, 0, mostRest), f.gone+mostRest
	}
}

// end says that no event will follow.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// now is the place after the last event; that before it if none will follow.
func (f *feed) now() place {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := place{f.size, f.gone + len(f.rest)}
	switch {
	case !f.ended:
	case len(f.rest) > 0:
		end.rest--
	default:
		end.bytes = f.last
	}
	return end
}

// follow sends the events from a place on (the zero place: before the first) until no event will follow, the context is over, or send fails.
func (f *feed) follow(ctx context.Context, from place, send func(*ditherv1.WatchResponse) error) error {
	for {
		f.mu.Lock()
		file, end, ended, changed := f.file, place{f.size, f.gone + len(f.rest)}, f.ended, f.changed
		rest := slices.Clone(f.rest[max(0, from.rest-f.gone):])
		f.mu.Unlock()
		for in := bufio.NewReader(io.NewSectionReader(file, from.bytes, end.bytes-from.bytes)); ; {
			e := &ditherv1.WatchResponse{}
			if err := protodelim.UnmarshalFrom(in, e); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("reading the run's events: %w", err)
			}
			if err := send(e); err != nil {
				return err
			}
		}
		for _, e := range rest {
			if err := send(e); err != nil {
				return err
			}
		}
		from = end
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) close() error { return f.file.Close() }
