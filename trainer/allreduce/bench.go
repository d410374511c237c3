package allreduce

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Bench times the all-reduce of one bucket of a number of floats among trainers that are goroutines of this process and exchange over gRPC on unix sockets, one shard each. It gives the
// wall milliseconds of each iteration, from its beginning on all trainers until all have the sum.
func Bench(ctx context.Context, trainers, floats, iterations int) (ms []float64, err error) {
	if trainers < 1 || floats < 1 || iterations < 1 {
		return nil, fmt.Errorf("bench of %d trainers, %d floats, %d iterations: each must be at least 1", trainers, floats, iterations)
	}
	dir, err := os.MkdirTemp("", "dither-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the sockets: %w", err)
	}
	defer os.RemoveAll(dir)
	local, err := listen(trainers, func(rank int) (string, string) { return "unix", filepath.Join(dir, fmt.Sprint(rank)) })
	if err != nil {
		return nil, err
	}
	defer local.stop()
	transports, err := local.connect(ctx, 1)
	if err != nil {
		return nil, err
	}
	reducers := make([]*Reducer, trainers)
	shards, sums := make([][][]float32, trainers), make([][]float32, trainers)
	for rank := range reducers {
		reducers[rank] = New(Group{Rank: rank, Ranges: equalRanges(trainers, trainers)}, transports[rank], Options{})
		shards[rank], sums[rank] = [][]float32{make([]float32, floats)}, make([]float32, floats)
	}
	stop := context.AfterFunc(ctx, func() { reducers[0].Abort(context.Cause(ctx)) })
	defer stop()
	for k := range iterations {
		begun := time.Now()
		err = together(trainers, func(rank int) error {
			r := reducers[rank]
			r.Begin(uint32(k + 1))
			r.Start(0, shards[rank])
			return r.Wait(0, sums[rank])
		})
		if err != nil {
			break
		}
		ms = append(ms, float64(time.Since(begun).Nanoseconds())/1e6)
	}
	together(trainers, func(rank int) error { reducers[rank].Close(); return nil })
	if err != nil {
		return nil, fmt.Errorf("bench of %d trainers: %w", trainers, err)
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
