package allreduce

import (
	"slices"
	"sync"
	"time"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// memoryLink is one direction between two addresses of a MemoryNetwork, for as long as that lasts: what an old generation sent may still be on its way when the next begins.
type memoryLink struct {
	network *MemoryNetwork
	number  int           // distinct for every link
	delay   time.Duration // see MemoryOptions.Delay
	queue   []memoryFrame // on their way, as they arrive: one generation's in order, but an old one's may come after a new one's
	chunks  int           // of them that are chunks. Invariant: chunks <= MemoryOptions.Queue
	moved   sync.Cond     // something about the link has changed
	cut     bool
	refused int
	newest  uint64      // generation of the frame sent last,
	last    time.Time   // and when that arrives
	timer   *time.Timer // wakes the receiver when the first frame is there
}

// memoryFrame is a chunk, a hello or an end.
type memoryFrame struct {
	generation uint64
	due        time.Time  // when it arrives
	chunk      wire.Chunk // Data nil: none
	hello      *uint32    // the last iteration that the sender applied
	end        *memoryEnd
}

// memoryEnd says that the sender's half of the exchange is over.
type memoryEnd struct {
	cause error // nil: in good order
	died  bool  // and it did not say so itself
}

// link gives the way from one address to another. It holds the network's lock.
func (n *MemoryNetwork) link(from, to string) *memoryLink {
	l := n.links[[2]string{from, to}]
	if l == nil {
		l = &memoryLink{network: n, number: n.number(from)*maxMemoryNodes + n.number(to), delay: n.options.Delay}
		l.moved.L = &n.mu
		n.links[[2]string{from, to}] = l
	}
	return l
}

// push sends a frame on its way, which takes a part of the link's delay.
func (l *memoryLink) push(f memoryFrame, part float64) {
	if l.newest != f.generation {
		l.newest, l.last = f.generation, time.Time{}
	}
	f.due = l.arrival(time.Duration(part * float64(l.delay)))
	if f.chunk.Data != nil {
		l.chunks++
	}
	at := len(l.queue)
	for at > 0 && l.queue[at-1].due.After(f.due) {
		at--
	}
	l.queue = slices.Insert(l.queue, at, f)
	l.moved.Broadcast()
}

// arrival is when a frame that travels for a time arrives: after those of its generation before it, and if it travels at all at no other link's moment.
func (l *memoryLink) arrival(travel time.Duration) time.Time {
	due := time.Now().Add(travel)
	if due.Before(l.last) {
		due = l.last
	}
	if l.delay == 0 {
		l.last = due
		return due
	}
	const step = maxMemoryNodes * maxMemoryNodes
	due = due.Add(time.Duration(step - due.UnixNano()%step + int64(l.number)))
	l.last = due
	return due
}

// restamp lets what the link held back arrive from now on.
func (l *memoryLink) restamp() {
	l.last = time.Time{}
	for i := range l.queue {
		l.queue[i].due = l.arrival(0)
	}
}

// head is the first frame, if it has arrived at a node; else the receiver is woken when it does.
func (l *memoryLink) head(at *MemoryNode) (f memoryFrame, ok bool) {
	if len(l.queue) == 0 || l.cut || at.frozen {
		return memoryFrame{}, false
	}
	f = l.queue[0]
	wait := time.Until(f.due)
	if wait <= 0 {
		return f, true
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, func() {
			l.network.mu.Lock()
			defer l.network.mu.Unlock()
			l.moved.Broadcast()
		})
	} else {
		l.timer.Reset(wait)
	}
	return memoryFrame{}, false
}

// pop takes the first frame away.
func (l *memoryLink) pop() {
	if l.queue[0].chunk.Data != nil {
		l.chunks--
	}
	n := copy(l.queue, l.queue[1:]) // short, and so its memory stays
	l.queue[n] = memoryFrame{}
	l.queue = l.queue[:n]
	l.moved.Broadcast()
}

// refuse takes away a first frame whose generation is over.
func (l *memoryLink) refuse() {
	if data := l.queue[0].chunk.Data; data != nil {
		l.refused++
		data.Release()
	}
	l.pop()
}
