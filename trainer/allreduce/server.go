package allreduce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// Sizes for bulk: windows so large that a stream never waits for one, and few system calls.
const (
	windowBytes     = 16 << 20
	bufferBytes     = 128 << 10
	maxMessageBytes = 64 << 20
)

// How long a silent connection is trusted, by the side that accepted it; gRPC lets the other ask only every 10 s. Chunks and beats are watched by the Reducer: this ends
// the connections that carry none, soon after.
const (
	keepaliveTime    = time.Second
	keepaliveTimeout = DefaultSilence
	clientKeepalive  = 10 * time.Second
)

// ServerOptions are those of a grpc.Server that a Server's Exchange runs on.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes),
		grpc.WriteBufferSize(bufferBytes), grpc.ReadBufferSize(bufferBytes), grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientKeepalive / 2, PermitWithoutStream: true}),
	}
}

// Server is a process's end of all exchanges of a run: it takes in the streams that trainers of lower rank open, generation after generation. It implements the Exchange method
// of ditherv1.TrainerServiceServer; a type that embeds UnimplementedTrainerServiceServer beside it must forward Exchange by hand.
type Server struct {
	run, specSHA256 string
	alone           bool // shares no memory with peers on this host

	mu      sync.Mutex
	newest  *exchange
	changed chan struct{} // closed when newest changes
}

// NewServer makes the Server of a run.
func NewServer(run, specSHA256 string) *Server {
	return &Server{run: run, specSHA256: specSHA256, changed: make(chan struct{})}
}

// Exchange serves a stream for as long as its generation lasts. A stream of a generation that this process has not heard of yet waits for it.
func (s *Server) Exchange(stream ditherv1.TrainerService_ExchangeServer) error {
	var w wire.Stream = wire.Plain{Stream: stream}
	if md, _ := metadata.FromIncomingContext(stream.Context()); len(md["content-type"]) > 0 && md["content-type"][0] == "application/grpc+"+wire.Name {
		w = stream
	}
	var first wire.Frame
	if err := w.RecvMsg(&first); err != nil {
		return err
	}
	if first.Chunk.Data != nil {
		first.Chunk.Data.Release()
		return status.Error(codes.InvalidArgument, "the first frame of an exchange carries a chunk; it must only name its sender")
	}
	x, err := s.await(stream.Context(), first.Position)
	if err != nil {
		return grpcError(err)
	}
	l, err := x.accept(&first, w)
	if err != nil {
		return grpcError(err)
	}
	return <-l.verdict
}

// await gives the exchange of a generation, once Connect has been called for it.
func (s *Server) await(ctx context.Context, at wire.Position) (*exchange, error) {
	for {
		s.mu.Lock()
		x, changed := s.newest, s.changed
		s.mu.Unlock()
		own := wire.Position{Run: s.run, SpecSHA256: s.specSHA256, Generation: at.Generation}
		if x != nil && x.position.Generation > at.Generation {
			own.Generation = x.position.Generation
		}
		if own != at {
			return nil, misplaced(at, own)
		}
		if x != nil && x.position == at {
			return x, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// misplaced is the error for a frame that belongs elsewhere.
func misplaced(frame, own wire.Position) error {
	return fmt.Errorf("%w: a frame of run %q, spec %s, generation %d came to run %q, spec %s, generation %d",
		ErrRefused, frame.Run, frame.SpecSHA256, frame.Generation, own.Run, own.SpecSHA256, own.Generation)
}

// maxReason keeps an error short enough for an HTTP/2 header.
const maxReason = 1 << 10

// grpcError tells a peer why its stream ends.
func grpcError(err error) error {
	code := codes.Aborted
	if errors.Is(err, ErrRefused) {
		code = codes.FailedPrecondition
	}
	reason := err.Error()
	return status.Error(code, reason[:min(len(reason), maxReason)])
}
