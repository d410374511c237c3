package allreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// closeTimeout is how long Close waits for a peer to take what was sent to it.
const closeTimeout = 5 * time.Second

// Peers are the trainers of a generation.
type Peers struct {
	Generation uint64
	Rank       int      // of this trainer
	Addresses  []string // by rank, "host:port" or "unix:/path": see PickAddress
}

// reconnect lets a peer that starts later be reached soon after it listens.
var reconnect = backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// exchange is the gRPC Transport of one generation: a stream for each pair of ranks, opened by the lower one. It has no goroutines and no queues of its own;
// gRPC's flow control is the bound on what is on its way.
type exchange struct {
	position wire.Position
	peers    Peers
	links    []*link // by rank; nil: oneself, or in Connect one that is not there yet

	mu      sync.Mutex
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

	// Of the side that opened it:
	half   func() error // says that nothing more will be sent
	cancel func()       // breaks the stream and lets go of the connection
	// Of the other:
	verdict chan error // what the handler of the stream will return
}

// Connect opens the exchange of a generation with all its peers and waits until each of them has joined it, or ctx is done. Generations grow; the exchange of the one before must be closed.
// A peer that refuses gives ErrRefused, one that cannot be reached until ctx is done ErrPeerLost.
func (s *Server) Connect(ctx context.Context, p Peers) (Transport, error) {
	if p.Rank < 0 || p.Rank >= len(p.Addresses) {
		panic(fmt.Sprintf("allreduce: rank %d of %d trainers", p.Rank, len(p.Addresses)))
	}
	x := &exchange{position: wire.Position{Run: s.run, SpecSHA256: s.specSHA256, Generation: p.Generation}, peers: p,
		links: make([]*link, len(p.Addresses)), arrived: make(chan struct{}), aborted: make(chan struct{})}
	s.mu.Lock()
	if s.newest != nil && s.newest.position.Generation >= p.Generation {
		newest := s.newest.position.Generation
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: to begin generation %d after generation %d", ErrRefused, p.Generation, newest)
	}
	s.newest = x
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make(chan error, len(p.Addresses))
	for rank := p.Rank + 1; rank < len(p.Addresses); rank++ {
		go func() { failures <- x.open(ctx, rank) }()
	}
	go func() { failures <- x.awaitLower(ctx) }()
	var first error
	for range len(p.Addresses) - p.Rank {
		if err := <-failures; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	if first != nil {
		x.Close(first)
		return nil, fmt.Errorf("connect rank %d in generation %d: %w", p.Rank, p.Generation, first)
	}
	return x, nil
}

// open opens the stream to a peer of higher rank and waits until it is accepted.
func (x *exchange) open(ctx context.Context, rank int) error {
	address := x.Address(rank)
	target := address
	if !strings.HasPrefix(target, "unix:") {
		target = "passthrough:///" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableRetry(),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes), grpc.WithWriteBufferSize(bufferBytes), grpc.WithReadBufferSize(bufferBytes),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.WaitForReady(true)))
	if err != nil {
		return lost(rank, address, err)
	}
	streamCtx, cancel := context.WithCancel(context.Background()) // the stream outlives ctx
	stop := context.AfterFunc(ctx, cancel)
	drop := func() { cancel(); conn.Close() }
	stream, err := ditherv1.NewTrainerServiceClient(conn).Exchange(streamCtx)
	if err == nil {
		err = stream.SendMsg(&wire.Frame{Position: x.position, Rank: uint32(x.peers.Rank)})
	}
	accepted := wire.Frame{Reply: true}
	if err == nil || errors.Is(err, io.EOF) { // of which Recv knows the reason
		err = stream.RecvMsg(&accepted)
	}
	switch {
	case !stop():
		err = lost(rank, address, fmt.Errorf("not reached in time: %w", context.Cause(ctx)))
	case status.Code(err) == codes.FailedPrecondition:
		err = fmt.Errorf("trainer of rank %d at %s: %w: %s", rank, address, ErrRefused, status.Convert(err).Message())
	case err != nil:
		err = lost(rank, address, err)
	case accepted.Position != x.position:
		err = misplaced(accepted.Position, x.position)
	}
	if err != nil {
		drop()
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.links[rank] = &link{stream: stream, in: wire.Frame{Reply: true}, ended: make(chan struct{}), half: stream.CloseSend, cancel: drop}
	return nil
}

// awaitLower waits until every peer of lower rank has opened its stream.
func (x *exchange) awaitLower(ctx context.Context) error {
	for rank := range x.peers.Rank {
		for {
			x.mu.Lock()
			l, arrived := x.links[rank], x.arrived
			x.mu.Unlock()
			if l != nil {
				break
			}
			select {
			case <-arrived:
			case <-ctx.Done():
				return lost(rank, x.Address(rank), fmt.Errorf("it did not join generation %d in time: %w", x.position.Generation, context.Cause(ctx)))
			}
		}
	}
	return nil
}

// accept takes in a stream that a peer of lower rank opened.
func (x *exchange) accept(rank int, stream wire.Stream) (*link, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return nil, fmt.Errorf("%w: generation %d is over on the trainer of rank %d", ErrRefused, x.position.Generation, x.peers.Rank)
	case rank >= x.peers.Rank:
		return nil, fmt.Errorf("%w: rank %d opened a stream to rank %d of %d; the lower rank opens it", ErrRefused, rank, x.peers.Rank, len(x.links))
	case x.links[rank] != nil:
		return nil, fmt.Errorf("%w: a second stream from rank %d in generation %d", ErrRefused, rank, x.position.Generation)
	}
	if err := stream.SendMsg(&wire.Frame{Position: x.position, Reply: true}); err != nil {
		return nil, err
	}
	l := &link{stream: stream, ended: make(chan struct{}), verdict: make(chan error, 1)}
	x.links[rank] = l
	close(x.arrived)
	x.arrived = make(chan struct{})
	return l, nil
}

func (x *exchange) Address(rank int) string { return x.peers.Addresses[rank] }

func (x *exchange) Send(to int, c wire.Chunk) error {
	checkSend(to, x.peers.Rank, len(x.links), c)
	l := x.links[to]
	l.sending.take("Send", x.peers.Rank)
	defer l.sending.leave()
	l.out = wire.Frame{Position: x.position, Reply: l.verdict != nil, Rank: uint32(x.peers.Rank), Chunk: c}
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
