package trainer

import (
	"context"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
)

// network is this trainer's end of what trainers ask of each other.
type network struct {
	ditherv1.UnimplementedTrainerServiceServer
	trainer  *Trainer
	exchange *allreduce.Server
	server   *grpc.Server
}

// listen begins to serve other trainers, on TCP and on a unix socket.
func listen(t *Trainer) (*network, error) {
	n := &network{trainer: t, exchange: allreduce.NewServer(t.Run.GetRun(), t.Run.GetSpecSha256()), server: grpc.NewServer(allreduce.ServerOptions()...)}
	ditherv1.RegisterTrainerServiceServer(n.server, n)
	healthv1.RegisterHealthServer(n.server, health.NewServer())
	reflection.Register(n.server)
	if t.Socket != "" {
		socket, err := net.Listen("unix", t.Socket)
		if err != nil {
			return nil, fmt.Errorf("unix socket for the trainers on this host: %w", err)
		}
		go n.server.Serve(socket)
	}
	go n.server.Serve(t.Listener)
	return n, nil
}

// address is how others reach this trainer: HOST:PORT, and the socket for those on this host.
func (n *network) address() string {
	if n.trainer.Socket == "" {
		return n.trainer.Advertise
	}
	return n.trainer.Advertise + ",unix:" + n.trainer.Socket
}

// join opens the exchange with the other trainers of the generation; a trainer alone has none.
func (n *network) join(ctx context.Context, t *Trainer, group allreduce.Group) (allreduce.Transport, error) {
	if len(group.Ranges) == 1 {
		return nil, nil
	}
	host, _ := os.Hostname()
	peers := allreduce.Peers{Generation: t.generation.GetNumber(), Rank: t.rank}
	for _, m := range t.generation.GetTrainers() {
		peers.Addresses = append(peers.Addresses, allreduce.PickAddress(m, host))
	}
	transport, _, err := n.exchange.Connect(ctx, peers)
	return transport, err
}

func (n *network) close() { n.server.Stop() }

// Exchange implements dither.v1.TrainerService.
func (n *network) Exchange(stream ditherv1.TrainerService_ExchangeServer) error {
	return n.exchange.Exchange(stream)
}

// FetchState implements dither.v1.TrainerService: the state between two iterations, in pieces.
func (n *network) FetchState(r *ditherv1.FetchStateRequest, stream ditherv1.TrainerService_FetchStateServer) error {
	t := n.trainer
	if at := r.GetPosition(); at.GetRun() != t.Run.GetRun() || at.GetSpecSha256() != t.Run.GetSpecSha256() {
		return ditherv1.Fault(codes.FailedPrecondition, fmt.Sprintf("has the state of run %s of spec %.12s and was asked for run %s of spec %.12s",
			t.Run.GetRun(), t.Run.GetSpecSha256(), at.GetRun(), at.GetSpecSha256()), "trainer "+t.ID, "ask a trainer of your own run")
	}
	type state struct {
		iteration uint32
		data      []byte
		err       error
	}
	answer := make(chan state, 1)
	take := func(applied uint32) {
		data, _, err := t.encoded(applied)
		answer <- state{applied, data, err}
	}
	select {
	case t.requests <- take:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	s := <-answer
	switch {
	case s.err != nil:
		return ditherv1.Fault(codes.Internal, s.err.Error(), "trainer "+t.ID, "")
	case s.iteration < r.GetPosition().GetIteration():
		return ditherv1.Fault(codes.FailedPrecondition, fmt.Sprintf("is after iteration %d and was asked for %d", s.iteration, r.GetPosition().GetIteration()), "trainer "+t.ID, "ask again later")
	}
	for from := 0; from < len(s.data); from += piece {
		if err := stream.Send(&ditherv1.FetchStateResponse{Iteration: s.iteration, TotalBytes: uint64(len(s.data)), Data: s.data[from:min(from+piece, len(s.data))]}); err != nil {
			return err
		}
	}
	return nil
}
