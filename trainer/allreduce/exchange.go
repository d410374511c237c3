package allreduce

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// closeTimeout is how long Close waits for a peer to take what was sent to it.
const closeTimeout = 5 * time.Second

// exchange is the gRPC Transport of one generation: a stream for each pair of ranks, opened by the lower one. It has no goroutines and no queues of its own;
// gRPC's flow control is the bound on what is on its way.
type exchange struct {
	position wire.Position
	peers    Peers
	links    []*link       // by rank; nil: oneself, or in Connect one that is not there yet
	segment  *wire.Segment // this trainer's numbers, for peers on this host; nil: none

	mu      sync.Mutex
	applied []uint32      // by rank: the last iteration applied, as its link's first frame says
	arrived chan struct{} // closed when a link from a lower rank is there, and replaced
	cause   error         // of Close
	closed  bool
	aborted chan struct{} // closed by Close with a cause
}

// link is the stream to one peer.
type link struct {
	stream          wire.Stream
	out, in         wire.Frame // reused; of the goroutines in Send and Recv
	sending, taking turn
	ended           chan struct{} // closed when Recv has come to the stream's end
	lends           atomic.Bool   // the peer has opened this trainer's segment

	// Of the side that opened it:
	half   func() error // says that nothing more will be sent
	cancel func()       // breaks the stream and lets go of the connection
	// Of the other:
	verdict chan error // what the handler of the stream will return
}

// get gives memory for what is to be sent: the peers on this host read it there.
func (x *exchange) get(floats int) *wire.Buffer { return x.segment.Get(floats) }

func (x *exchange) Address(rank int) string { return x.peers.Addresses[rank] }

func (x *exchange) Send(to int, c wire.Chunk) error {
	checkSend(to, x.peers.Rank, len(x.links), c)
	l := x.links[to]
	l.sending.take("Send", x.peers.Rank)
	defer l.sending.leave()
	l.out = wire.Frame{Position: x.position, Reply: l.verdict != nil, Rank: uint32(x.peers.Rank), Chunk: c}
	if l.lends.Load() {
		l.out.Lend = x.segment
	}
	err := x.closedError()
	if err == nil {
		err = l.stream.SendMsg(&l.out)
	}
	if l.out.Chunk.Data != nil { // the codec never got it
		l.out.Chunk.Data.Release()
		l.out.Chunk.Data = nil
	}
	if err != nil {
		return x.failure(to, err)
	}
	return nil
}

func (x *exchange) Recv(from int) (wire.Chunk, error) {
	checkPeer(from, x.peers.Rank, len(x.links))
	l := x.links[from]
	l.taking.take("Recv", x.peers.Rank)
	defer l.taking.leave()
	if closed(l.ended) {
		return wire.Chunk{}, x.failure(from, errors.New("its stream has ended"))
	}
	return x.receive(from, l)
}

func (x *exchange) receive(from int, l *link) (wire.Chunk, error) {
	if err := l.stream.RecvMsg(&l.in); err != nil {
		close(l.ended)
		if !errors.Is(err, io.EOF) {
			return wire.Chunk{}, x.failure(from, err)
		}
		if l.verdict != nil { // the peer needs nothing more
			l.finish(nil, x.peers.Rank)
		}
		return wire.Chunk{}, io.EOF
	}
	c := l.in.Chunk
	l.in.Chunk.Data = nil
	switch {
	case l.in.Position != x.position:
		return x.reject(from, c, misplaced(l.in.Position, x.position))
	case !l.in.Reply && l.in.Rank != uint32(from):
		return x.reject(from, c, fmt.Errorf("%w: a frame of rank %d on the stream of rank %d", ErrRefused, l.in.Rank, from))
	case c.Data == nil && l.in.Opened && !l.lends.Swap(true):
		return x.receive(from, l)
	case c.Data == nil:
		return x.reject(from, c, fmt.Errorf("%w: a frame without a chunk", ErrRefused))
	}
	return c, nil
}

func (x *exchange) reject(from int, c wire.Chunk, err error) (wire.Chunk, error) {
	if c.Data != nil {
		c.Data.Release()
	}
	return wire.Chunk{}, fmt.Errorf("trainer of rank %d at %s: %w", from, x.Address(from), err)
}

// failure is what went wrong with a peer; after Close, that.
func (x *exchange) failure(rank int, err error) error {
	if own := x.closedError(); own != nil {
		return own
	}
	code := status.Code(err)
	if code == codes.Aborted || code == codes.FailedPrecondition || code == codes.Canceled && x.links[rank].verdict != nil { // its own words (see grpcError), or its end of the stream
		return left(rank, x.Address(rank), err)
	}
	return lost(rank, x.Address(rank), err)
}

func (x *exchange) closedError() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.cause != nil:
		return fmt.Errorf("%w: %w", ErrClosed, x.cause)
	case x.closed:
		return ErrClosed
	}
	return nil
}

// Close with a nil cause says on every stream that nothing more will come, and waits until the peers to whom this side opened one have taken everything. To the others gRPC delivers what
// was sent, as long as the grpc.Server is there: stop that by GracefulStop.
func (x *exchange) Close(cause error) {
	x.mu.Lock()
	begun := x.closed
	x.closed = true
	if cause != nil && x.cause == nil {
		x.cause = cause
		close(x.aborted)
	}
	links := append([]*link(nil), x.links...)
	x.mu.Unlock()
	x.segment.Close()
	if cause == nil && begun {
		return
	}
	var reason error
	if cause != nil {
		reason = grpcError(cause)
	}
	for _, l := range links {
		if l != nil {
			l.finish(reason, x.peers.Rank)
		}
	}
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	for _, l := range links {
		if l == nil || l.cancel == nil {
			continue
		}
		if cause == nil {
			select {
			case <-l.ended:
			case <-x.aborted:
			case <-timeout.C:
				timeout.Reset(0) // for the links that follow
			}
		}
		l.cancel()
	}
}

// finish ends this side's half of the stream, with a reason if it is not in good order.
func (l *link) finish(reason error, rank int) {
	if l.verdict != nil {
		select {
		case l.verdict <- reason:
		default: // it has one
		}
	} else if reason == nil {
		l.sending.take("Close", rank)
		l.half()
		l.sending.leave()
	}
}
