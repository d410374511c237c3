package coordinator

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	pingAfter  = 10 * time.Second // of silence
	pingAnswer = 5 * time.Second  // within which a peer must answer, else it is gone
	maxMessage = 64 << 20         // bytes: an evaluation's part over all training images fits many times
)

// service is the gRPC face of a Coordinator.
type service struct {
	ditherv1.UnimplementedCoordinatorServiceServer
	c *Coordinator
}

func newServer(c *Coordinator) (*grpc.Server, *health.Server) {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingAnswer}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAfter / 2, PermitWithoutStream: true}),
	)
	ditherv1.RegisterCoordinatorServiceServer(s, &service{c: c})
	h := health.NewServer() // "" serves from the start
	h.SetServingStatus(ditherv1.CoordinatorService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(s, h)
	reflection.Register(s)
	return s, h
}

// Dial gives a client of the coordinator at HOST:PORT. It does not wait for an answer: the first call does, or fails.
func Dial(_ context.Context, address string) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, dialOptions()...)
	if err != nil {
		return nil, nil, fmt.Errorf("dialling the coordinator at %s: %w", address, err)
	}
	return ditherv1.NewCoordinatorServiceClient(conn), conn, nil
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingAnswer, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}
}
