//go:build gpu

package cuda

import (
	"runtime"
	"sync"
	"weak"

	"gorgonia.org/cu"
)

// Go's collector frees the device's memory: when no Memory of a piece is left, a cleanup has the owner free it. Cleanups run some time after a collection, so a piece
// is also known by a weak pointer, by which those that are garbage are found at once where memory is short.

// holds are the pieces that are allocated.
type holds struct {
	mu  sync.Mutex
	all map[*held]struct{}
}

type held struct {
	base  cu.DevicePtr
	bytes int64
	piece weak.Pointer[piece]
}

// add notes a piece.
func (s *holds) add(p *piece, bytes int64) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &held{p.base, bytes, weak.Make(p)}
	s.all[h] = struct{}{}
	return h
}

// remove says whether it was there: a piece is freed by its cleanup or for want of memory, whichever comes first.
func (s *holds) remove(h *held) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.all[h]
	delete(s.all, h)
	return there
}

// garbage are the pieces that the last collection found nobody to hold. What uses them was enqueued before.
func (s *holds) garbage() (found []*held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h := range s.all {
		if h.piece.Value() == nil {
			found = append(found, h)
		}
	}
	return found
}

// free gives a piece back, for the owner.
func (d *device) free(h *held) error {
	if !d.holds.remove(h) {
		return nil
	}
	if err := cu.Synchronize(); err != nil { // what uses it was enqueued before
		return err
	}
	d.taken(-h.bytes)
	return cu.MemFree(h.base)
}

// later has the owner call f once v is garbage. All that this takes is allocated here: a collection in mid-step allocates nothing.
func later[T any](d *device, v *T, f func() error, what string) {
	runtime.AddCleanup(v, d.put, task{call: f, what: what})
}
