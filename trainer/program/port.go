package program

import "github.com/dither-ml/dither/trainer/kernel"

// port is a memory beside the host's copy of it. The copy is boxed once, so that a transfer allocates nothing.
type port[E any] struct {
	host   []E
	boxed  any // host
	memory kernel.Memory
}

func newPort[E any](memory kernel.Memory) *port[E] {
	host := make([]E, memory.Len())
	return &port[E]{host, host, memory}
}

// write enqueues v, which is the caller's again at once; the copy is in use until the next Sync.
func (p *port[E]) write(s kernel.Stream, v []E) {
	copy(p.host, v)
	p.send(s)
}

// send enqueues the copy's way into the memory.
func (p *port[E]) send(s kernel.Stream) { s.Write(p.memory, p.boxed) }

// fetch enqueues the memory's way into the copy.
func (p *port[E]) fetch(s kernel.Stream) { s.Read(p.boxed, p.memory) }
