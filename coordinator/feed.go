package coordinator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"google.golang.org/protobuf/encoding/protodelim"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// feed is the events of an execution, for those who watch it. Events lie in a file without a name, not in memory; each watcher reads at its
// own pace from wherever it is. So nobody who watches holds training up, nobody loses an event, and memory does not grow with the run.
type feed struct {
	mu      sync.Mutex
	file    *os.File
	size    int64         // bytes of whole events
	last    int64         // where the last of them begins
	broken  error         // what kept an event from being written
	ended   bool          // no event will follow
	changed chan struct{} // closed and replaced at each change
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

// append adds an event. Where it cannot be written, those who watch are told, and later events are not kept.
func (f *feed) append(e *ditherv1.WatchResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil && !f.ended {
		n, err := protodelim.MarshalTo(io.NewOffsetWriter(f.file, f.size), e)
		if err != nil {
			f.broken = err
		} else {
			f.last, f.size = f.size, f.size+int64(n)
		}
	}
	f.wake()
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

// now is the place after the last event; that of the last event itself if none will follow.
func (f *feed) now() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return f.last
	}
	return f.size
}

// follow sends the events from a place on (0: the first) until no event will follow, the context is over, or send fails.
func (f *feed) follow(ctx context.Context, from int64, send func(*ditherv1.WatchResponse) error) error {
	for {
		f.mu.Lock()
		size, broken, ended, changed := f.size, f.broken, f.ended, f.changed
		f.mu.Unlock()
		for in := bufio.NewReader(io.NewSectionReader(f.file, from, size-from)); ; {
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
		from = size
		if broken != nil {
			return fmt.Errorf("keeping the run's events: %w", broken)
		}
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
