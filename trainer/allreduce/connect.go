package allreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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

// Peers are the trainers of a generation.
type Peers struct {
	Generation uint64
	Rank       int      // of this trainer
	Addresses  []string // by rank, "host:port" or "unix:/path": see PickAddress
	Applied    uint32   // the last iteration applied to this trainer's state
}

func (p Peers) check() {
	if p.Rank < 0 || p.Rank >= len(p.Addresses) {
		panic(fmt.Sprintf("allreduce: rank %d of %d trainers", p.Rank, len(p.Addresses)))
	}
}

// Connector opens the exchange of one generation after another: a Server by gRPC, a MemoryNode in a simulation.
type Connector interface {
	// Connect opens the exchange of a generation with all its peers and waits until each of them has joined it, or ctx is done. It gives the last iteration that each
	// has applied, by rank, one's own included; to a trainer alone it gives no Transport. Generations grow; the exchange of the one before must be closed.
	// A peer that refuses gives ErrRefused, one that cannot be reached until ctx is done ErrPeerLost: see LostRank.
	Connect(ctx context.Context, p Peers) (t Transport, applied []uint32, err error)
}

// reconnect lets a peer that starts later be reached soon after it listens.
var reconnect = backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// Connect implements Connector.
func (s *Server) Connect(ctx context.Context, p Peers) (Transport, []uint32, error) {
	p.check()
	x := &exchange{position: wire.Position{Run: s.run, SpecSHA256: s.specSHA256, Generation: p.Generation}, peers: p,
		links: make([]*link, len(p.Addresses)), applied: make([]uint32, len(p.Addresses)), arrived: make(chan struct{}), aborted: make(chan struct{})}
	x.applied[p.Rank] = p.Applied
	if !s.alone && len(p.Addresses) > 1 {
		x.segment, _ = wire.NewSegment() // without one, numbers travel
	}
	s.mu.Lock()
	if s.newest != nil && s.newest.position.Generation >= p.Generation {
		newest := s.newest.position.Generation
		s.mu.Unlock()
		x.segment.Close()
		return nil, nil, fmt.Errorf("%w: to begin generation %d after generation %d", ErrRefused, p.Generation, newest)
	}
	s.newest = x
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if len(p.Addresses) == 1 {
		return nil, x.applied, nil
	}

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
		return nil, nil, fmt.Errorf("connect rank %d in generation %d: %w", p.Rank, p.Generation, first)
	}
	return x, x.applied, nil
}

// hello is the first frame each way: who sends it, the last iteration that it applied, and what it shares.
func (x *exchange) hello(reply bool) *wire.Frame {
	f := &wire.Frame{Position: x.position, Reply: reply, Rank: uint32(x.peers.Rank), Chunk: wire.Chunk{Iteration: x.peers.Applied}}
	if x.segment != nil {
		f.Share = x.segment.Share()
	}
	return f
}

// share opens what a peer shares. On another host, or in another container, there is nothing to open, and numbers travel.
func (x *exchange) share(hello *wire.Frame) *wire.Segment {
	if x.segment == nil || hello.Share == nil {
		return nil
	}
	s, err := wire.OpenSegment(hello.Share)
	if err != nil {
		return nil
	}
	return s
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
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientKeepalive, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		return lost(rank, address, err)
	}
	streamCtx, cancel := context.WithCancel(context.Background()) // the stream outlives ctx
	stop := context.AfterFunc(ctx, cancel)
	drop := func() { cancel(); conn.Close() }
	stream, err := dial(streamCtx, conn)
	if err == nil {
		err = stream.SendMsg(x.hello(false))
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
	case accepted.Chunk.Data != nil:
		err = fmt.Errorf("trainer of rank %d at %s: %w: its first frame carries a chunk", rank, address, ErrRefused)
	}
	peer := x.share(&accepted)
	if err == nil && peer != nil {
		if err = stream.SendMsg(&wire.Frame{Position: x.position, Rank: uint32(x.peers.Rank), Opened: true}); err != nil {
			err = lost(rank, address, err)
		}
	}
	if err != nil {
		if accepted.Chunk.Data != nil {
			accepted.Chunk.Data.Release()
		}
		drop()
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.applied[rank] = accepted.Chunk.Iteration
	l := &link{stream: stream, in: wire.Frame{Reply: true, Peer: peer}, ended: make(chan struct{}), half: stream.CloseSend, cancel: drop}
	l.lends.Store(accepted.Opened)
	x.links[rank] = l
	return nil
}

// refusedFor is how long a peer may refuse connections: it listened before it was in a generation, so nobody is there any more, or a network comes up.
const refusedFor = 300 * time.Millisecond

// dial opens a stream.
func dial(ctx context.Context, conn *grpc.ClientConn) (stream ditherv1.TrainerService_ExchangeClient, err error) {
	began := time.Now()
	for {
		stream, err = ditherv1.NewTrainerServiceClient(conn).Exchange(ctx)
		if status.Code(err) != codes.Unavailable || time.Since(began) > refusedFor {
			return stream, err
		}
		select {
		case <-time.After(reconnect.BaseDelay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
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

// accept takes in a stream that a peer of lower rank opened with its hello.
func (x *exchange) accept(first *wire.Frame, stream wire.Stream) (*link, error) {
	rank := int(first.Rank)
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
	peer, hello := x.share(first), x.hello(true)
	hello.Opened = peer != nil
	if err := stream.SendMsg(hello); err != nil {
		return nil, err
	}
	l := &link{stream: stream, in: wire.Frame{Peer: peer}, ended: make(chan struct{}), verdict: make(chan error, 1)}
	x.links[rank], x.applied[rank] = l, first.Chunk.Iteration
	close(x.arrived)
	x.arrived = make(chan struct{})
	return l, nil
}
