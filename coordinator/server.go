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
	serverPing = time.Second            // of silence after which a client is asked whether it lives; Silence is what it has to answer
	clientPing = 10 * time.Second       // the least that gRPC allows a client
	pingAnswer = 5 * time.Second        // within which the server must answer, else it is gone
	leastPing  = 500 * time.Millisecond // a client that asks more often is turned away
	maxMessage = 64 << 20               // bytes: an evaluation's part over all training images fits many times
)

// service is the gRPC face of a Coordinator.
type service struct {
	ditherv1.UnimplementedCoordinatorServiceServer
	c *Coordinator
}

// serve takes calls from now on, where there is a port. Until this coordinator leads it answers that it does not.
func (c *Coordinator) serve() {
	if c.listener == nil {
		return
	}
	c.server = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverPing, Timeout: c.config.Silence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
	)
	ditherv1.RegisterCoordinatorServiceServer(c.server, &service{c: c})
	c.health = health.NewServer() // "" serves from the start
	c.serving(healthv1.HealthCheckResponse_NOT_SERVING)
	healthv1.RegisterHealthServer(c.server, c.health)
	reflection.Register(c.server)
	c.done.Go(func() {
		if err := c.server.Serve(c.listener); err != nil {
			c.fail(fmt.Sprintf("the coordinator cannot serve any more: %v", err))
		}
	})
}

// serving says by way of the health service whether this coordinator leads.
func (c *Coordinator) serving(s healthv1.HealthCheckResponse_ServingStatus) {
	if c.health != nil {
		c.health.SetServingStatus(ditherv1.CoordinatorService_ServiceDesc.ServiceName, s)
	}
}

// fail ends the run, if this coordinator leads it.
func (c *Coordinator) fail(message string) {
	if t, _ := c.current(); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail(message)
	}
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
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientPing, Timeout: pingAnswer, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}
}
