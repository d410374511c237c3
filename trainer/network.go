package trainer

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
)

// Network is how trainers reach each other by gRPC: the Exchange and the Peers of a Config, and the server that answers for a Trainer.
type Network struct {
	*allreduce.Server
	host    string // of this process
	server  *grpc.Server
	serving sync.WaitGroup
	offered chan struct{} // closed once trainer is there
	trainer *Trainer
}

var (
	_ allreduce.Connector = (*Network)(nil)
	_ Peers               = (*Network)(nil)
)

// Listen begins to serve other trainers of a run, on a TCP listener and on a unix socket (a path; "": none). Close ends it, and the listener.
func Listen(run *ditherv1.GetRunResponse, listener net.Listener, socket string) (*Network, error) {
	host, _ := os.Hostname()
	n := &Network{Server: allreduce.NewServer(run.GetRun(), run.GetSpecSha256()), host: host, server: grpc.NewServer(allreduce.ServerOptions()...), offered: make(chan struct{})}
	ditherv1.RegisterTrainerServiceServer(n.server, service{Network: n})
	healthv1.RegisterHealthServer(n.server, health.NewServer())
	reflection.Register(n.server)
	if socket != "" {
		local, err := net.Listen("unix", socket)
		if err != nil {
			return nil, fmt.Errorf("unix socket for the trainers on this host: %w", err)
		}
		n.serving.Go(func() { n.server.Serve(local) })
	}
	n.serving.Go(func() { n.server.Serve(listener) })
	return n, nil
}

// Address is how others reach this process, for Member.Address: HOST:PORT as advertised, and the unix socket, if there is one, for those on this host.
func Address(advertise, socket string) string {
	if socket == "" {
		return advertise
	}
	return advertise + ",unix:" + socket
}

// Offer lets t answer what others ask; once.
func (n *Network) Offer(t *Trainer) {
	n.trainer = t
	close(n.offered)
}

// Close ends everything at once.
func (n *Network) Close() {
	n.server.Stop()
	n.serving.Wait()
}

// service answers other trainers.
type service struct {
	ditherv1.UnimplementedTrainerServiceServer
	*Network
}

// Exchange implements dither.v1.TrainerService.
func (s service) Exchange(stream ditherv1.TrainerService_ExchangeServer) error {
	return s.Server.Exchange(stream)
}

// FetchState implements dither.v1.TrainerService.
func (s service) FetchState(r *ditherv1.FetchStateRequest, stream ditherv1.TrainerService_FetchStateServer) error {
	t, err := s.answers(stream.Context())
	if err != nil {
		return err
	}
	return t.FetchState(stream.Context(), r, stream.Send)
}

// FollowUpdates implements dither.v1.TrainerService.
func (s service) FollowUpdates(r *ditherv1.FollowUpdatesRequest, stream ditherv1.TrainerService_FollowUpdatesServer) error {
	t, err := s.answers(stream.Context())
	if err != nil {
		return err
	}
	return t.FollowUpdates(stream.Context(), r, stream.Send)
}

// answers is the trainer that answers, once there is one.
func (n *Network) answers(ctx context.Context) (*Trainer, error) {
	select {
	case <-n.offered:
		return n.trainer, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// FetchState implements Peers.
func (n *Network) FetchState(ctx context.Context, from *ditherv1.Member, r *ditherv1.FetchStateRequest) (Stream[ditherv1.FetchStateResponse], error) {
	c, err := n.dial(ctx, from)
	if err != nil {
		return nil, err
	}
	return c.FetchState(ctx, r)
}

// FollowUpdates implements Peers.
func (n *Network) FollowUpdates(ctx context.Context, from *ditherv1.Member, r *ditherv1.FollowUpdatesRequest) (Stream[ditherv1.FollowUpdatesResponse], error) {
	c, err := n.dial(ctx, from)
	if err != nil {
		return nil, err
	}
	return c.FollowUpdates(ctx, r)
}

// dial reaches a trainer for as long as ctx lasts.
func (n *Network) dial(ctx context.Context, m *ditherv1.Member) (ditherv1.TrainerServiceClient, error) {
	address := allreduce.PickAddress(m, n.host)
	target := address
	if !strings.HasPrefix(target, "unix:") {
		target = "passthrough:///" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableRetry(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("trainer %s at %q: %w", m.GetId(), address, err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	return ditherv1.NewTrainerServiceClient(conn), nil
}
