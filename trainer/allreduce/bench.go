package allreduce

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Bench is one trainer of a timing: a process of this host, one of several that are given the same numbers and the same folder for their unix sockets.
type Bench struct {
	Folder     string
	Rank       int
	Trainers   int // a shard each
	Floats     int // of the bucket that is summed
	Iterations int
}

// Run gives the wall milliseconds of each iteration's all-reduce, from a barrier of all trainers to this one's sum.
func (b Bench) Run(ctx context.Context) (ms []float64, err error) {
	if b.Trainers < 1 || b.Rank < 0 || b.Rank >= b.Trainers || b.Floats < 1 || b.Iterations < 1 {
		return nil, fmt.Errorf("bench of rank %d of %d trainers, %d floats, %d iterations: each must be at least 1, and the rank among the trainers", b.Rank, b.Trainers, b.Floats, b.Iterations)
	}
	socket := func(rank int) string { return filepath.Join(b.Folder, fmt.Sprint(rank)) }
	local, err := listen(1, func(int) (string, string) { return "unix", socket(b.Rank) })
	if err != nil {
		return nil, err
	}
	defer local.stop()
	peers := Peers{Generation: 1, Rank: b.Rank}
	for rank := range b.Trainers {
		peers.Addresses = append(peers.Addresses, "unix:"+socket(rank))
	}
	transport, _, err := local.servers[0].Connect(ctx, peers)
	if err != nil {
		return nil, err
	}
	r := New(Group{Rank: b.Rank, Ranges: equalRanges(b.Trainers, b.Trainers)}, transport, Options{})
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { r.Abort(context.Cause(ctx)) })
	defer stop()
	const barrier, bucket = 0, 1
	one, sum := [][]float32{make([]float32, b.Floats)}, make([]float32, b.Floats)
	for k := range b.Iterations {
		r.Begin(uint32(k + 1))
		r.Start(barrier, [][]float32{one[0][:1]})
		if err := r.Wait(barrier, sum[:1]); err != nil {
			return nil, err
		}
		begun := time.Now()
		r.Start(bucket, one)
		if err := r.Wait(bucket, sum); err != nil {
			return nil, err
		}
		ms = append(ms, float64(time.Since(begun).Nanoseconds())/1e6)
	}
	return ms, nil
}

// together runs a function for every rank at once and gives the first error by rank.
func together(ranks int, do func(rank int) error) error {
	errs := make([]error, ranks)
	var wait sync.WaitGroup
	for rank := range ranks {
		wait.Go(func() { errs[rank] = do(rank) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// equalRanges cuts shards into ranges whose lengths differ by at most one.
func equalRanges(shards, ranks int) []Range {
	ranges := make([]Range, ranks)
	for rank := range ranges {
		ranges[rank] = Range{rank * shards / ranks, (rank + 1) * shards / ranks}
	}
	return ranges
}

// local is trainers in one process that reach each other by sockets.
type local struct {
	servers   []*Server
	grpc      []*grpc.Server
	addresses []string
}

// service is a trainer's service that does nothing but exchange.
type service struct {
	ditherv1.UnimplementedTrainerServiceServer
	exchange *Server
}

func (s service) Exchange(stream ditherv1.TrainerService_ExchangeServer) error {
	return s.exchange.Exchange(stream)
}

// listen begins to serve trainers at addresses given as network and address.
func listen(trainers int, at func(rank int) (network, address string)) (*local, error) {
	l := &local{}
	for rank := range trainers {
		network, address := at(rank)
		listener, err := net.Listen(network, address)
		if err != nil {
			l.stop()
			return nil, fmt.Errorf("listen for rank %d: %w", rank, err)
		}
		address = listener.Addr().String()
		if network == "unix" {
			address = "unix:" + address
		}
		exchange, server := NewServer("local", "local"), grpc.NewServer(ServerOptions()...)
		ditherv1.RegisterTrainerServiceServer(server, service{exchange: exchange})
		go server.Serve(listener)
		l.servers, l.grpc, l.addresses = append(l.servers, exchange), append(l.grpc, server), append(l.addresses, address)
	}
	return l, nil
}

// connect opens a generation on every trainer.
func (l *local) connect(ctx context.Context, generation uint64) ([]Transport, error) {
	transports := make([]Transport, len(l.servers))
	err := together(len(l.servers), func(rank int) (err error) {
		transports[rank], _, err = l.servers[rank].Connect(ctx, Peers{Generation: generation, Rank: rank, Addresses: l.addresses})
		return err
	})
	if err != nil {
		for _, t := range transports {
			if t != nil {
				t.Close(err)
			}
		}
		return nil, err
	}
	return transports, nil
}

func (l *local) stop() {
	for _, s := range l.grpc {
		s.GracefulStop()
	}
}
