package cpu

import (
	"unsafe"

	"github.com/dither-ml/dither/trainer/kernel/cpu/vector"
)

// lookahead is what a worker's product fetches into the second-level cache while it computes: the beginnings of what the passes after it will read.
type lookahead struct {
	streams [8]uintptr
	n       int
	at      [positions]uintptr
}

// add takes up what begins at element i of v; beyond its end there is nothing to fetch.
func (l *lookahead) add(v []float32, i int) {
	if i < len(v) {
		l.streams[l.n] = uintptr(unsafe.Pointer(&v[i]))
		l.n++
	}
}

// spread deals the streams, of so many lines each, out to the positions of p, and forgets them.
func (l *lookahead) spread(p *vector.Product, lines int) *uintptr {
	p.ReadLines = 0
	if l.n == 0 {
		return nil
	}
	each := positions / l.n
	p.ReadLines = ceil(lines, each)
	for i := range l.at {
		l.at[i] = l.streams[min(i/each, l.n-1)] + uintptr(i%each*p.ReadLines*lanes*4)
	}
	l.n = 0
	return &l.at[0]
}
