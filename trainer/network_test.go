package trainer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

// wiredCoordinator is a coordinator by gRPC, over the orders and records of a world in memory.
type wiredCoordinator struct {
	ditherv1.UnimplementedCoordinatorServiceServer
	w *world
}

func (c wiredCoordinator) Report(stream ditherv1.CoordinatorService_ReportServer) error {
	m := &memoryCoordinator{p: &process{w: c.w}, orders: make(chan *ditherv1.ReportResponse, 100), gone: make(chan struct{})}
	c.w.change(func() { c.w.processes[m.name()] = &process{conn: m} })
	ended := make(chan struct{})
	var sending sync.WaitGroup
	defer sending.Wait()
	defer close(ended)
	sending.Go(func() {
		for {
			select {
			case r := <-m.orders:
				if stream.Send(r) != nil {
					return
				}
			case <-ended:
				return
			}
		}
	})
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = m.Send(r)
	}
}

func (c *memoryCoordinator) name() string { return "stream of " + c.p.id }

func (c wiredCoordinator) GetFile(*ditherv1.GetFileRequest, ditherv1.CoordinatorService_GetFileServer) error {
	return ditherv1.Fault(codes.NotFound, "no such file", "coordinator", "")
}

func (c wiredCoordinator) PutCheckpoint(stream ditherv1.CoordinatorService_PutCheckpointServer) error {
	var data []byte
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			c.w.change(func() { c.w.checkpoint = data })
			return stream.SendAndClose(&ditherv1.PutCheckpointResponse{Path: "checkpoint"})
		}
		if err != nil {
			return err
		}
		data = append(data, piece.GetData()...)
	}
}

// TestOverRealSockets runs a trainer with a network, a coordinator that is found late, and another trainer that copies its state and follows it.
func TestOverRealSockets(t *testing.T) {
	w := newWorld(t, func(r *ditherv1.GetRunResponse) { r.Spec.Teacher, r.Spec.Loss = nil, &ditherv1.LossSpec{Ce: 1} })
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	share, err := NewShare([]kernel.Set{set}, w.data, w.run.GetSpec(), "test", 0, runShards)
	if err != nil {
		t.Fatal(err)
	}
	defer share.Close()
	l, socket := listen(), filepath.Join(t.TempDir(), "s")
	network, err := Listen(w.run, l, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	server := grpc.NewServer()
	ditherv1.RegisterCoordinatorServiceServer(server, wiredCoordinator{w: w})
	at := listen()
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(at) })
	defer serving.Wait()
	defer server.Stop()

	leaders := make(chan string)
	defer close(leaders)
	p := &process{w: w, id: "trainer-0"}
	p.member = &ditherv1.Member{Id: p.id, Role: "trainer", Address: Address(l.Addr().String(), socket), Process: network.host + ":1", KernelSet: set.Name(), Arithmetic: set.Arithmetic(), TrainSha256: w.data.Train.Hash(), TestSha256: w.data.Test.Hash()}
	trainer, err := New(Config{Member: p.member, Run: w.run, Members: p, Coordinators: FollowLeader(leaders, w.run.GetSpecSha256()), Exchange: network, Peers: network, Work: share, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	network.Offer(trainer)
	w.form(false, p)
	ended := make(chan error, 1)
	go func() { ended <- trainer.Serve(context.Background(), nil) }()
	leaders <- ""
	leaders <- at.Addr().String()
	w.await("the last word is said", func() bool { return w.finished["trainer-0"] != nil })
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if w.have != runIterations {
		t.Errorf("%d iterations are on record", w.have)
	}
	saved, err := checkpoint.Decode(w.checkpoint)
	if err != nil || saved.Meta.Iteration != runIterations || Hex(saved.Hash()) != w.finished["trainer-0"].GetParametersSha256() {
		t.Errorf("the checkpoint is %v (%v)", saved, err)
	}
}

// TestAStateIsCopiedOverSockets asks a trainer that waits with its state for all of it, for a part, and for what it has not.
func TestAStateIsCopiedOverSockets(t *testing.T) {
	w := newWorld(t, nil)
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	share, err := NewShare([]kernel.Set{set}, w.data, w.run.GetSpec(), "test", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer share.Close()
	if err := share.Start(nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network, err := Listen(w.run, l, "")
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	m := &ditherv1.Member{Id: "trainer-0", Address: l.Addr().String(), Arithmetic: set.Arithmetic(), TrainSha256: w.data.Train.Hash(), TestSha256: w.data.Test.Hash()}
	trainer, err := New(Config{Member: m, Run: w.run, Work: share, Peers: network, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	network.Offer(trainer)
	trainer.hasState = true
	trainer.offer.jump(0)
	if _, err := trainer.keep(); err != nil { // as at the beginning of a generation
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &fetch{peers: network, position: trainer.position(0), logger: slog.New(slog.DiscardHandler)}
	data, v, err := f.state(ctx, []*ditherv1.Member{m})
	if err != nil || v.iteration != 0 || len(data) <= piece {
		t.Fatalf("a state of %d bytes after iteration %d came (%v); more than a piece was to come", len(data), v.iteration, err)
	}
	part := make([]byte, 1000)
	if err := f.part(ctx, m, v, 12345, part); err != nil || !slices.Equal(part, data[12345:13345]) {
		t.Errorf("1000 bytes at 12345 are others than those of the whole (%v)", err)
	}
	for what, r := range map[string]*ditherv1.FetchStateRequest{
		"another run":          {Position: &ditherv1.Position{Run: "other", SpecSha256: w.run.GetSpecSha256()}},
		"bytes behind its end": {Position: trainer.position(0), Offset: uint64(len(data)) + 1},
		"more than there is":   {Position: trainer.position(0), Offset: 10, Length: uint64(len(data))},
	} {
		stream, err := network.FetchState(ctx, m, r)
		if err == nil {
			_, err = stream.Recv()
		}
		if err == nil {
			t.Errorf("%s was given", what)
		}
	}
	u, err := trainer.open(ctx, m)
	if err != nil || u.after != 0 {
		t.Fatalf("the updates follow iteration %d (%v)", u.after, err)
	}
	if err := trainer.offer.publish(1, func() (*Update, error) { return &Update{Iteration: 1, LR: 0.5, Sums: []float32{1, -2, 3}}, nil }); err != nil {
		t.Fatal(err)
	}
	if got := <-u.updates; got.Iteration != 1 || got.LR != 0.5 || !slices.Equal(got.Sums, []float32{1, -2, 3}) {
		t.Errorf("the update that came is %v", got)
	}
	trainer.offer.jump(7)
	if _, more := <-u.updates; more || u.err == nil {
		t.Error("a follower was not cut off where it has a gap")
	}
	u.cancel()
}

func TestAFollowerThatDoesNotKeepUpIsCutOff(t *testing.T) {
	o := newOffer()
	o.jump(3)
	f, after, ok := o.follow()
	if !ok || after != 3 {
		t.Fatalf("updates follow iteration %d", after)
	}
	sums := make([]float32, queueBytes/4/3) // so that some always may wait
	for k := uint32(4); k <= 4+queueUpdates; k++ {
		if cut := f.cut; cut != "" {
			t.Fatalf("cut off before iteration %d: %s", k, cut)
		}
		if err := o.publish(k, func() (*Update, error) { return &Update{Iteration: k, Sums: sums}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if updates, cut := o.take(f); cut == "" || len(updates) > 0 || len(o.followers) > 0 {
		t.Errorf("%d updates wait for one that takes none", queueUpdates+1)
	}
}
