package allreduce

import (
	"sync"
	"time"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// memoryLink is one direction between two addresses of a MemoryNetwork, for as long as that lasts: what an old generation sent may still be on its way when the next begins.
type memoryLink struct {
	network *MemoryNetwork
	number  int           // distinct for every link
	delay   time.Duration // see MemoryOptions.Delay
	queue   []memoryFrame // on their way, in order
	chunks  int           // of them that are chunks. Invariant: chunks <= MemoryOptions.Queue
	moved   sync.Cond     // something about the link has changed
	cut     bool
	refused int
	last    time.Time   // when the frame sent last arrives
	timer   *time.Timer // wakes the receiver when the first frame is there
}

// memoryFrame is a chunk, a hello or an end.
type memoryFrame struct {
	generation uint64
	due        time.Time  // when it arrives; zero: now
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
	if l.delay > 0 {
		f.due = l.arrival(time.Duration(part * float64(l.delay)))
	}
	if f.chunk.Data != nil {
		l.chunks++
	}
	l.queue = append(l.queue, f)
	l.moved.Broadcast()
}

// arrival is when a frame that travels for a time arrives: after those before it, and at no other link's moment.
func (l *memoryLink) arrival(travel time.Duration) time.Time {
	due := time.Now().Add(travel)
	if due.Before(l.last) {
		due = l.last
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
		if l.delay > 0 {
			l.queue[i].due = l.arrival(0)
		}
	}
}

// head is the first frame, if it has arrived at a node; else the receiver is woken when it does.
func (l *memoryLink) head(at *MemoryNode) (f memoryFrame, ok bool) {
	if len(l.queue) == 0 || l.cut || at.frozen {
		return memoryFrame{}, false
	}
	f = l.queue[0]
	if f.due.IsZero() {
		return f, true
	}
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
