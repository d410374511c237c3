package allreduce

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// MemoryOptions are the faults of a Memory. What befalls the n-th chunk from one rank to another is a function of Seed, the two ranks and n. In a bubble of
// testing/synctest delays take no real time, and no two chunks arrive at the same moment: the order of arrival, too, is the seed's.
type MemoryOptions struct {
	Seed  uint64
	Delay time.Duration // a chunk travels for a time drawn from [0, Delay); chunks of one pair keep their order
	Drop  float64       // probability that a chunk is lost; a stream cannot go on without it, so it breaks, for both
	Die   float64       // probability that the sender dies while sending a chunk
	Queue int           // chunks on their way between a pair before Send waits; 0: 16
}

// Memory is the network of n ranks in one process: each Rank's Transport reaches all others.
type Memory struct {
	options MemoryOptions
	ranks   []*memoryRank
}

// memoryRank is one rank's Transport.
type memoryRank struct {
	network *Memory
	rank    int
	out, in []*memoryLink // by peer; nil: oneself

	gone, left chan struct{} // closed when it died or closed with a cause; when it closed in good order
	mu         sync.Mutex
	cause      error // of being gone
}

// memoryLink is one direction between two ranks.
type memoryLink struct {
	number, links   int // distinct for every link, and how many there are
	chunks          chan memoryChunk
	broken          chan struct{} // closed when a chunk was dropped
	random          *rand.Rand    // the sender's
	last            time.Time     // when the chunk sent last arrives
	sending, taking turn
}

type memoryChunk struct {
	chunk wire.Chunk
	due   time.Time // zero: now
}

var (
	errDied    = errors.New("it died")
	errDropped = errors.New("a chunk was dropped")
)

// NewMemory makes the network.
func NewMemory(n int, o MemoryOptions) *Memory {
	if o.Queue == 0 {
		o.Queue = 16
	}
	m := &Memory{options: o}
	for rank := range n {
		m.ranks = append(m.ranks, &memoryRank{network: m, rank: rank, out: make([]*memoryLink, n), in: make([]*memoryLink, n),
			gone: make(chan struct{}), left: make(chan struct{})})
	}
	for from := range n {
		for to := range n {
			if from != to {
				number := from*n + to
				l := &memoryLink{number: number, links: n * n, chunks: make(chan memoryChunk, o.Queue), broken: make(chan struct{}),
					random: rand.New(rand.NewPCG(o.Seed, uint64(number)))}
				m.ranks[from].out[to], m.ranks[to].in[from] = l, l
			}
		}
	}
	return m
}

// Rank is the Transport of a rank.
func (m *Memory) Rank(rank int) Transport { return m.ranks[rank] }

// Kill lets a rank die: its own calls and its peers' fail.
func (m *Memory) Kill(rank int) { m.ranks[rank].end(errDied) }

// Address says which rank of a Memory it is.
func (t *memoryRank) Address(rank int) string { return fmt.Sprintf("memory:%d", rank) }

func (t *memoryRank) Send(to int, c wire.Chunk) error {
	checkSend(to, t.rank, len(t.out), c)
	l, peer := t.out[to], t.network.ranks[to]
	l.sending.take("Send", t.rank)
	defer l.sending.leave()
	o := t.network.options
	drop, die, delay := l.random.Float64() < o.Drop, l.random.Float64() < o.Die, l.random.Float64()
	if die {
		t.end(errDied)
	} else if drop {
		l.snap()
	}
	m := memoryChunk{chunk: c}
	if o.Delay > 0 {
		m.due = l.arrival(time.Duration(delay * float64(o.Delay)))
	}
	err := t.broken(to)
	if closed(t.left) {
		err = ErrClosed
	}
	if err == nil {
		select {
		case l.chunks <- m:
			return nil
		case <-t.gone:
		case <-peer.gone:
		case <-l.broken:
		case <-t.in[to].broken:
		case <-peer.left:
			err = lost(to, t.Address(to), errors.New("it closed"))
		}
	}
	c.Data.Release()
	if err == nil {
		err = t.broken(to)
	}
	return err
}

func (t *memoryRank) Recv(from int) (wire.Chunk, error) {
	checkPeer(from, t.rank, len(t.in))
	l, peer := t.in[from], t.network.ranks[from]
	l.taking.take("Recv", t.rank)
	defer l.taking.leave()
	if err := t.broken(from); err != nil {
		return wire.Chunk{}, err
	}
	var m memoryChunk
	select {
	case m = <-l.chunks:
	case <-peer.left:
		select {
		case m = <-l.chunks:
		default:
			return wire.Chunk{}, io.EOF
		}
	case <-t.left:
		return wire.Chunk{}, ErrClosed
	case <-t.gone:
	case <-peer.gone:
	case <-l.broken:
	case <-t.out[from].broken:
	}
	if wait := time.Until(m.due); !m.due.IsZero() && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.gone:
		case <-peer.gone:
		case <-l.broken:
		case <-t.out[from].broken:
		}
	}
	if err := t.broken(from); err != nil {
		if m.chunk.Data != nil {
			m.chunk.Data.Release()
		}
		return wire.Chunk{}, err
	}
	return m.chunk, nil
}

// broken is why nothing can come from or go to a peer, or nil. Another rank's reason is told as text: what it wraps is that rank's affair.
func (t *memoryRank) broken(peer int) error {
	p := t.network.ranks[peer]
	switch {
	case closed(t.gone):
		return fmt.Errorf("%w: %w", ErrClosed, t.why())
	case closed(p.gone):
		return lost(peer, t.Address(peer), errors.New(p.why().Error()))
	case closed(t.out[peer].broken) || closed(t.in[peer].broken):
		return lost(peer, t.Address(peer), errDropped)
	}
	return nil
}

func (t *memoryRank) Close(cause error) {
	if cause != nil {
		t.end(cause)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !closed(t.left) {
		close(t.left)
	}
}

// end lets the rank be gone, for a reason.
func (t *memoryRank) end(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !closed(t.gone) {
		t.cause = cause
		close(t.gone)
	}
}

func (t *memoryRank) why() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

// arrival is when a chunk that travels for a time arrives: after the chunks before it, and at no other link's moment.
func (l *memoryLink) arrival(travel time.Duration) time.Time {
	due := time.Now().Add(travel)
	if due.Before(l.last) {
		due = l.last
	}
	step := int64(l.links)
	due = due.Add(time.Duration(step - due.UnixNano()%step + int64(l.number)))
	l.last = due
	return due
}

// snap breaks the link. Only its sender does so.
func (l *memoryLink) snap() {
	if !closed(l.broken) {
		close(l.broken)
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
