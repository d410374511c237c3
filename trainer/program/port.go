package program

import "github.com/dither-ml/dither/trainer/kernel"

// port is a memory beside the host's copy of it, which is pinned where the set pins. What streams are given is boxed once, so that a transfer allocates nothing.
type port[E any] struct {
	host   []E
	boxed  any // host, or what pins it
	memory kernel.Memory
}

func newPort[E any](s kernel.Stream, memory kernel.Memory) (*port[E], error) {
	pinned, err := s.Pin(memory.Type(), memory.Len())
	if err != nil {
		return nil, err
	}
	if pinned != nil {
		return &port[E]{pinned.Host.([]E), pinned, memory}, nil
	}
	host := make([]E, memory.Len())
	return &port[E]{host, host, memory}, nil
}

// send enqueues the copy's way into the memory.
func (p *port[E]) send(s kernel.Stream) { s.Write(p.memory, p.boxed) }

// fetch enqueues the memory's way into the copy.
func (p *port[E]) fetch(s kernel.Stream) { s.Read(p.boxed, p.memory) }

// dial is one number that the host sets, with as many bits as the set takes.
type dial struct {
	wide   *port[float64]
	narrow *port[float32] // pinned; else nil
}

func newDial(s kernel.Stream, memory kernel.Memory, apart bool) (d dial, err error) {
	if apart {
		d.narrow, err = newPort[float32](s, memory)
	} else {
		d.wide, err = newPort[float64](s, memory)
	}
	return d, err
}

func (d dial) turn(to float64) {
	if d.narrow != nil {
		d.narrow.host[0] = float32(to)
	} else {
		d.wide.host[0] = to
	}
}

func (d dial) send(s kernel.Stream) {
	if d.narrow != nil {
		d.narrow.send(s)
	} else {
		d.wide.send(s)
	}
}
