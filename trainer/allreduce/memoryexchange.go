package allreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// memoryExchange is the Transport of one generation on a MemoryNode. Its fields are guarded by the network's lock.
type memoryExchange struct {
	node            *MemoryNode
	peers           Peers
	out, in         []*memoryLink // by rank; nil: oneself
	sending, taking []turn        // by rank
	random          []*rand.Rand  // by rank: decides what befalls each chunk
	ended           []error       // by rank: why nothing more comes or goes
	closed          bool          // in good order
	cause           error         // of the end, where it was not in good order
	stale           bool          // the mutant AcceptStale
}

// Connect implements Connector.
func (m *MemoryNode) Connect(ctx context.Context, p Peers) (Transport, []uint32, error) {
	p.check()
	n := m.network
	n.mu.Lock()
	defer n.mu.Unlock()
	m.standstill()
	x, err := m.begin(p)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Addresses) == 1 {
		return nil, []uint32{p.Applied}, nil
	}
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.wake()
	})
	defer stop()
	for rank, l := range x.out {
		if l != nil {
			l.push(memoryFrame{generation: p.Generation, hello: &p.Applied}, x.draws(rank, 1).Float64())
		}
	}
	applied := make([]uint32, len(p.Addresses))
	for rank := range applied {
		if applied[rank] = p.Applied; rank == p.Rank {
			continue
		}
		if applied[rank], err = x.greet(ctx, rank); err != nil {
			err = fmt.Errorf("connect rank %d in generation %d: %w", p.Rank, p.Generation, err)
			m.standstill()
			x.end(err, false)
			return nil, nil, err
		}
	}
	return x, applied, nil
}

// begin makes the exchange of a generation, the node's newest.
func (m *MemoryNode) begin(p Peers) (*memoryExchange, error) {
	size := len(p.Addresses)
	x := &memoryExchange{node: m, peers: p, out: make([]*memoryLink, size), in: make([]*memoryLink, size), sending: make([]turn, size), taking: make([]turn, size),
		random: make([]*rand.Rand, size), ended: make([]error, size), stale: mutated(AcceptStale)}
	switch {
	case m.dead:
		return nil, fmt.Errorf("%w: %w", ErrClosed, errDied)
	case m.newest != nil && m.newest.peers.Generation >= p.Generation:
		return nil, fmt.Errorf("%w: to begin generation %d after generation %d", ErrRefused, p.Generation, m.newest.peers.Generation)
	}
	m.newest = x
	for rank, address := range p.Addresses {
		if rank != p.Rank {
			x.out[rank], x.in[rank] = m.network.link(m.address, address), m.network.link(address, m.address)
			x.random[rank] = x.draws(rank, 0)
		}
	}
	m.network.wake()
	return x, nil
}

// draws are the seed's numbers for what this generation sends to a rank: its chunks, its hello, its end.
func (x *memoryExchange) draws(rank int, what uint64) *rand.Rand {
	return rand.New(rand.NewPCG(x.node.network.options.Seed, uint64(x.out[rank].number)|what<<16|x.peers.Generation<<20))
}

// greet waits for a peer's hello. A refusal by any peer ends it.
func (x *memoryExchange) greet(ctx context.Context, rank int) (applied uint32, err error) {
	l := x.in[rank]
	for {
		x.node.standstill()
		f, there := l.head(x.node)
		if x.cause != nil {
			return 0, fmt.Errorf("%w: %w", ErrClosed, x.cause)
		}
		if err := x.overtaken(); err != nil {
			return 0, err
		}
		switch {
		case there && f.generation < x.peers.Generation:
			l.refuse()
		case there && f.generation == x.peers.Generation && f.hello != nil:
			l.pop()
			return *f.hello, nil
		case there && f.generation == x.peers.Generation && f.end != nil:
			l.pop()
			return 0, x.endOf(rank, f.end)
		case ctx.Err() != nil:
			return 0, lost(rank, x.Address(rank), fmt.Errorf("it did not join generation %d in time: %w", x.peers.Generation, context.Cause(ctx)))
		default:
			l.moved.Wait()
		}
	}
}

// overtaken is the refusal of a peer that can be reached and is in a later generation.
func (x *memoryExchange) overtaken() error {
	for rank, l := range x.in {
		if l == nil || l.cut {
			continue
		}
		if peer := x.node.network.nodes[x.Address(rank)]; peer != nil && !peer.frozen && peer.newest != nil && peer.newest.peers.Generation > x.peers.Generation {
			return fmt.Errorf("trainer of rank %d at %s: %w: generation %d came to generation %d", rank, x.Address(rank), ErrRefused, x.peers.Generation, peer.newest.peers.Generation)
		}
	}
	return nil
}

// endOf is the error for a peer whose end has come, not in good order.
func (x *memoryExchange) endOf(rank int, end *memoryEnd) error {
	switch {
	case end.cause == nil:
		return left(rank, x.Address(rank), errors.New("it closed"))
	case end.died:
		return lost(rank, x.Address(rank), end.cause)
	}
	return left(rank, x.Address(rank), errors.New(end.cause.Error())) // what it wraps is that trainer's affair
}

// Address is the name of a peer's node.
func (x *memoryExchange) Address(rank int) string { return x.peers.Addresses[rank] }

func (x *memoryExchange) standstill() { x.node.Standstill() }

func (x *memoryExchange) Send(to int, c wire.Chunk) error {
	checkSend(to, x.peers.Rank, len(x.out), c)
	x.sending[to].take("Send", x.peers.Rank)
	defer x.sending[to].leave()
	n, l := x.node.network, x.out[to]
	n.mu.Lock()
	defer n.mu.Unlock()
	x.node.standstill()
	random := x.random[to]
	drop, die, part := random.Float64() < n.options.Drop, random.Float64() < n.options.Die, random.Float64()
	if die {
		x.node.kill()
		n.wake()
	} else if drop {
		x.snap(x.Address(to))
	}
	for {
		err := x.over(to)
		switch {
		case err == nil && x.closed:
			err = ErrClosed
			fallthrough
		case err != nil:
			c.Data.Release()
			return err
		case l.chunks < n.options.Queue && !x.node.frozen:
			l.push(memoryFrame{generation: x.peers.Generation, chunk: c}, part)
			return nil
		}
		l.moved.Wait()
	}
}

func (x *memoryExchange) Recv(from int) (wire.Chunk, error) {
	checkPeer(from, x.peers.Rank, len(x.in))
	x.taking[from].take("Recv", x.peers.Rank)
	defer x.taking[from].leave()
	n, l := x.node.network, x.in[from]
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if err := x.over(from); err != nil {
			return wire.Chunk{}, err
		}
		f, there := l.head(x.node)
		old := f.generation < x.peers.Generation
		switch {
		case !there && x.closed:
			return wire.Chunk{}, ErrClosed
		case !there:
			l.moved.Wait()
		case old && (!x.stale || f.chunk.Data == nil):
			l.refuse()
		case f.generation > x.peers.Generation:
			x.ended[from] = left(from, x.Address(from), fmt.Errorf("it is in generation %d", f.generation))
		case f.end != nil:
			l.pop()
			x.ended[from] = x.endOf(from, f.end)
			x.out[from].moved.Broadcast()
			if f.end.cause == nil {
				return wire.Chunk{}, io.EOF
			}
		default:
			l.pop()
			if f.chunk.Data != nil {
				return f.chunk, nil
			}
		}
	}
}

// over is why nothing can come from or go to a peer, or nil.
func (x *memoryExchange) over(peer int) error {
	if x.cause != nil {
		return fmt.Errorf("%w: %w", ErrClosed, x.cause)
	}
	return x.ended[peer]
}

// Close tells the peers, with the reason if there is one. A frozen node's waits until it is thawed.
func (x *memoryExchange) Close(cause error) {
	n := x.node.network
	n.mu.Lock()
	defer n.mu.Unlock()
	x.node.standstill()
	x.end(cause, false)
}

// end tells the peers that nothing more comes, once in good order and once not.
func (x *memoryExchange) end(cause error, died bool) {
	if x.cause != nil || x.closed && cause == nil {
		return
	}
	x.cause, x.closed = cause, true
	for rank, l := range x.out {
		if l != nil {
			l.push(memoryFrame{generation: x.peers.Generation, end: &memoryEnd{cause: cause, died: died}}, x.draws(rank, 2).Float64())
			x.in[rank].moved.Broadcast()
		}
	}
}

// snap breaks the stream to an address, for both.
func (x *memoryExchange) snap(address string) {
	for rank, l := range x.out {
		if l != nil && x.Address(rank) == address && x.ended[rank] == nil {
			x.ended[rank] = lost(rank, address, errDropped)
			l.push(memoryFrame{generation: x.peers.Generation, end: &memoryEnd{cause: errDropped, died: true}}, x.draws(rank, 2).Float64())
			x.in[rank].moved.Broadcast()
		}
	}
}
