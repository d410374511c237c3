package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

const (
	maxMessage = 64 << 20        // bytes: logits of a few thousand samples of a few thousand classes
	grace      = 5 * time.Second // for calls in progress, once a service is to end
)

// listen takes an address HOST:PORT for a service; the flag is where it came from, for the message.
func listen(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, badInputf("%s %s is in use by another process: stop that one, or take another port (0: any that is free)", flag, address)
	}
	return nil, badInputf("listen on %s %s: %w", flag, address, err)
}

// service is a gRPC server that answers health checks and reflection.
type service struct {
	*grpc.Server
	health *health.Server
}

func newService(options ...grpc.ServerOption) *service {
	options = append([]grpc.ServerOption{grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage)}, options...)
	s := &service{grpc.NewServer(options...), health.NewServer()}
	healthpb.RegisterHealthServer(s.Server, s.health)
	return s
}

// serve answers calls on l until ctx ends, then lets those in progress come to their end, for a while. What is to be answered is registered before.
func (s *service) serve(ctx context.Context, l net.Listener) error {
	reflection.Register(s.Server)
	for name := range s.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.health.Shutdown()
	late := time.AfterFunc(grace, s.Stop)
	defer late.Stop()
	s.GracefulStop()
	return nil
}
