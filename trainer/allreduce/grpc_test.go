package allreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func tcp(int) (string, string) { return "tcp", "127.0.0.1:0" }

func mustListen(t *testing.T, n int) *local {
	t.Helper()
	l, err := listen(n, tcp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.stop)
	return l
}

// A peer of another run, spec or generation is refused, and both sides' values are named.
func TestPeersOfAnotherRunAreRefused(t *testing.T) {
	for name, v := range map[string]struct {
		run, spec string
		want      []string
	}{
		"run":  {"other", "local", []string{`"other"`, `"local"`}},
		"spec": {"local", "0123", []string{"spec 0123", "spec local"}},
	} {
		l := mustListen(t, 2)
		l.servers[0] = NewServer(v.run, v.spec) // only opens streams
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			_, _, err := l.servers[1].Connect(ctx, Peers{Generation: 1, Rank: 1, Addresses: l.addresses})
			served <- err
		}()
		_, _, err := l.servers[0].Connect(t.Context(), Peers{Generation: 1, Rank: 0, Addresses: l.addresses})
		for _, want := range v.want {
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
				t.Errorf("another %s: error %v, want ErrRefused with %q", name, err, want)
			}
		}
		cancel()
		if err := <-served; !errors.Is(err, ErrPeerLost) || !strings.Contains(err.Error(), "rank 0 at "+l.addresses[0]) {
			t.Errorf("whoever waits for the refused one gets %v, want ErrPeerLost with rank 0's address", err)
		}
	}
}

func TestGenerations(t *testing.T) {
	l := mustListen(t, 2)
	first, err := l.connect(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range first {
		tr.Close(errors.New("a trainer was lost"))
	}
	// Rank 0 hears of generation 2 before rank 1 does: its stream waits.
	early := make(chan error, 1)
	var second [2]Transport
	go func() {
		var err error
		second[0], _, err = l.servers[0].Connect(t.Context(), Peers{Generation: 2, Rank: 0, Addresses: l.addresses})
		early <- err
	}()
	if second[1], _, err = l.servers[1].Connect(t.Context(), Peers{Generation: 2, Rank: 1, Addresses: l.addresses}); err != nil {
		t.Fatal(err)
	}
	if err := <-early; err != nil {
		t.Fatal(err)
	}
	// A process that slept through it comes with generation 1.
	late := NewServer("local", "local")
	_, _, err = late.Connect(t.Context(), Peers{Generation: 1, Rank: 0, Addresses: l.addresses})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "generation 1 came to") || !strings.Contains(err.Error(), "spec local, generation 2") {
		t.Errorf("a stream of generation 1 in generation 2: error %v, want ErrRefused naming both", err)
	}
	// A second process with a rank that is there.
	_, _, err = late.Connect(t.Context(), Peers{Generation: 2, Rank: 0, Addresses: l.addresses})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "second stream from rank 0") {
		t.Errorf("a second rank 0: error %v, want ErrRefused", err)
	}
	if _, _, err := l.servers[0].Connect(t.Context(), Peers{Generation: 2, Rank: 0, Addresses: l.addresses}); !errors.Is(err, ErrRefused) {
		t.Errorf("generation 2 again: error %v, want ErrRefused", err)
	}
	for _, tr := range second {
		tr.Close(errors.New("test over"))
	}
	// One that comes when all is over.
	third := NewServer("local", "local")
	if _, _, err = third.Connect(t.Context(), Peers{Generation: 2, Rank: 0, Addresses: l.addresses}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "generation 2 is over") {
		t.Errorf("after the end: error %v, want ErrRefused", err)
	}
}

// A trainer whose peer never comes up stops waiting when its context says so, and names the peer.
func TestAPeerThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = NewServer("local", "local").Connect(ctx, Peers{Generation: 1, Rank: 0, Addresses: []string{"unused", nobody}})
	if !errors.Is(err, ErrPeerLost) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "rank 1 at "+nobody) {
		t.Errorf("error %v, want ErrPeerLost with rank, address and the deadline", err)
	}
}

// A process that dies takes its server and its connections with it; everyone who waits for it knows at once.
func TestAProcessThatDies(t *testing.T) {
	for dead := range 3 {
		l := mustListen(t, 3)
		ts, err := l.connect(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		var reducers [3]*Reducer
		for rank := range reducers {
			if rank == dead {
				continue
			}
			r := New(Group{Rank: rank, Ranges: equalRanges(3, 3)}, ts[rank], Options{ChunkFloats: 10})
			r.Begin(1)
			r.Start(0, [][]float32{make([]float32, 100)})
			r.Start(1, [][]float32{make([]float32, 100)})
			reducers[rank] = r
		}
		// The end of a process, as seen from outside: no farewell.
		l.grpc[dead].Stop()
		for _, link := range ts[dead].(*exchange).links {
			if link != nil && link.cancel != nil {
				link.cancel()
			}
		}
		for rank, r := range reducers {
			if r == nil {
				continue
			}
			for id := range uint32(2) {
				// Where the other survivor gave up first, it is the one that this trainer lost.
				other := 3 - dead - rank
				if err := r.Wait(id, make([]float32, 100)); !errors.Is(err, ErrPeerLost) ||
					!strings.Contains(err.Error(), fmt.Sprintf("rank %d at %s", dead, l.addresses[dead])) && !strings.Contains(err.Error(), fmt.Sprintf("rank %d at %s", other, l.addresses[other])) {
					t.Errorf("rank %d died, rank %d: Wait gives %v, want ErrPeerLost", dead, rank, err)
				}
			}
			r.Close()
		}
		ts[dead].Close(errors.New("it died"))
	}
}

// foreign is a trainer that knows the .proto files and nothing of ours: shards [0, 1) or [1, 2) of two, one float each, plain protobuf.
type foreign struct {
	ditherv1.UnimplementedTrainerServiceServer
	position func(iteration uint32) *ditherv1.Position
	got      chan error
}

func newForeign() *foreign {
	return &foreign{got: make(chan error, 1), position: func(iteration uint32) *ditherv1.Position {
		return &ditherv1.Position{Run: "local", SpecSha256: "local", Generation: 1, Iteration: iteration}
	}}
}

func float(v float32) []byte {
	b := math.Float32bits(v)
	return []byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)}
}

// Exchange is the foreign trainer as rank 1: it owns chunk 1 of two, of one float each.
func (f *foreign) Exchange(stream ditherv1.TrainerService_ExchangeServer) error {
	first, err := stream.Recv()
	if err != nil || first.GetPosition().GetGeneration() != 1 || first.GetChunk() != nil {
		f.got <- fmt.Errorf("first frame %v, error %v", first, err)
		return err
	}
	send := func(m *ditherv1.Chunk) {
		if err == nil {
			err = stream.Send(&ditherv1.ExchangeResponse{Position: f.position(1), Chunk: m})
		}
	}
	err = stream.Send(&ditherv1.ExchangeResponse{Position: f.position(0)})
	send(&ditherv1.Chunk{Kind: partial, Chunk: 0, FirstShard: 1, EndShard: 2, Data: float(10)})
	for err == nil {
		var m *ditherv1.ExchangeRequest
		if m, err = stream.Recv(); err == io.EOF {
			f.got <- nil
			return nil
		}
		if c := m.GetChunk(); c.GetKind() == partial && c.GetChunk() == 1 && string(c.GetData()) == string(float(2)) && m.GetRank() == 0 {
			send(&ditherv1.Chunk{Kind: whole, Chunk: 1, Data: float(22)})
		} else if c.GetKind() != whole || c.GetChunk() != 0 || string(c.GetData()) != string(float(11)) {
			err = fmt.Errorf("unexpected %v", m)
		}
	}
	f.got <- err
	return err
}

// A server that has only protobuf's own codec, whatever a client names.
func TestOurClientWithAForeignServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newForeign()
	server := grpc.NewServer(grpc.ForceServerCodecV2(encoding.GetCodecV2(proto.Name)))
	ditherv1.RegisterTrainerServiceServer(server, f)
	go server.Serve(listener)
	defer server.Stop()
	tr, _, err := NewServer("local", "local").Connect(t.Context(), Peers{Generation: 1, Rank: 0, Addresses: []string{"", listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	reduceWithForeign(t, 0, tr, []float32{1, 2})
	if err := <-f.got; err != nil {
		t.Errorf("the foreign trainer: %v", err)
	}
}

// reduceWithForeign does the all-reduce whose sum is (11, 22).
func reduceWithForeign(t *testing.T, rank int, tr Transport, own []float32) {
	t.Helper()
	r := New(Group{Rank: rank, Ranges: equalRanges(2, 2)}, tr, Options{ChunkFloats: 1})
	r.Begin(1)
	r.Start(0, [][]float32{own})
	sum := make([]float32, 2)
	if err := r.Wait(0, sum); err != nil || !same(sum, []float32{11, 22}) {
		t.Errorf("sum %v, error %v, want (11, 22)", sum, err)
	}
	r.Close()
}

// dialForeign opens a stream with plain protobuf to a Server of rank 1 and gives its transport.
func dialForeign(t *testing.T, first *ditherv1.ExchangeRequest) (ditherv1.TrainerService_ExchangeClient, chan Transport) {
	t.Helper()
	l := mustListen(t, 2)
	conn, err := grpc.NewClient("passthrough:///"+l.addresses[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream, err := ditherv1.NewTrainerServiceClient(conn).Exchange(t.Context())
	if err == nil {
		err = stream.Send(first)
	}
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan Transport, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tr, _, _ := l.servers[1].Connect(ctx, Peers{Generation: 1, Rank: 1, Addresses: l.addresses})
		connected <- tr
	}()
	t.Cleanup(func() { cancel(); <-done })
	return stream, connected
}

func TestAForeignClientWithOurServer(t *testing.T) {
	f := newForeign()
	stream, connected := dialForeign(t, &ditherv1.ExchangeRequest{Position: f.position(0), Rank: 0})
	if m, err := stream.Recv(); err != nil || m.GetChunk() != nil || m.GetPosition().GetRun() != "local" {
		t.Fatalf("accepted with %v, error %v", m, err)
	}
	tr := <-connected
	finished := make(chan error, 1)
	go func() {
		err := stream.Send(&ditherv1.ExchangeRequest{Position: f.position(1), Chunk: &ditherv1.Chunk{Kind: partial, Chunk: 1, FirstShard: 0, EndShard: 1, Data: float(2)}})
		for range 2 {
			var m *ditherv1.ExchangeResponse
			if err == nil {
				m, err = stream.Recv()
			}
			if c := m.GetChunk(); err == nil && c.GetKind() == partial {
				err = stream.Send(&ditherv1.ExchangeRequest{Position: f.position(1), Chunk: &ditherv1.Chunk{Kind: whole, Chunk: 0, Data: float(11)}})
			} else if err == nil && (c.GetChunk() != 1 || string(c.GetData()) != string(float(22))) {
				err = fmt.Errorf("unexpected %v", m)
			}
		}
		if err == nil {
			err = stream.CloseSend()
		}
		finished <- err
	}()
	reduceWithForeign(t, 1, tr, []float32{10, 20})
	if err := <-finished; err != nil {
		t.Errorf("the foreign trainer: %v", err)
	}
}

// Frames that must not be there end the stream, and both sides know why.
func TestForeignFramesAreChecked(t *testing.T) {
	f := newForeign()
	good := &ditherv1.Chunk{Kind: partial, Chunk: 1, FirstShard: 0, EndShard: 1, Data: float(2)}
	elsewhere := func(change func(*ditherv1.Position)) *ditherv1.Position {
		p := f.position(1)
		change(p)
		return p
	}
	for name, v := range map[string]struct {
		first, then *ditherv1.ExchangeRequest
		code        codes.Code
		want        string
	}{
		"a chunk in the first frame": {first: &ditherv1.ExchangeRequest{Position: f.position(0), Chunk: good}, code: codes.InvalidArgument, want: "only name its sender"},
		"a rank that is too high":    {first: &ditherv1.ExchangeRequest{Position: f.position(0), Rank: 1}, code: codes.FailedPrecondition, want: "the lower rank opens it"},
		"another run":                {then: &ditherv1.ExchangeRequest{Position: elsewhere(func(p *ditherv1.Position) { p.Run = "theirs" }), Chunk: good}, code: codes.FailedPrecondition, want: `run "theirs", spec local, generation 1 came to run "local", spec local, generation 1`},
		"another spec":               {then: &ditherv1.ExchangeRequest{Position: elsewhere(func(p *ditherv1.Position) { p.SpecSha256 = "ff" }), Chunk: good}, code: codes.FailedPrecondition, want: `spec ff, generation 1 came to run "local", spec local`},
		"another generation":         {then: &ditherv1.ExchangeRequest{Position: elsewhere(func(p *ditherv1.Position) { p.Generation = 2 }), Chunk: good}, code: codes.FailedPrecondition, want: "generation 2 came to"},
		"an iteration that is over":  {then: &ditherv1.ExchangeRequest{Position: f.position(3), Chunk: good}, code: codes.FailedPrecondition, want: "iteration 3, while this trainer is at iteration 4"},
		"another rank":               {then: &ditherv1.ExchangeRequest{Position: f.position(4), Rank: 5, Chunk: good}, code: codes.FailedPrecondition, want: "rank 5 on the stream of rank 0"},
		"no chunk":                   {then: &ditherv1.ExchangeRequest{Position: f.position(4)}, code: codes.FailedPrecondition, want: "without a chunk"},
		"no whole float":             {then: &ditherv1.ExchangeRequest{Position: f.position(4), Chunk: &ditherv1.Chunk{Kind: partial, Data: []byte{1, 2, 3}}}, code: codes.Aborted, want: "3 bytes of numbers"},
	} {
		first := v.first
		if first == nil {
			first = &ditherv1.ExchangeRequest{Position: f.position(0)}
		}
		stream, connected := dialForeign(t, first)
		_, err := stream.Recv()
		if v.then != nil {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r := New(Group{Rank: 1, Ranges: equalRanges(2, 2)}, <-connected, Options{ChunkFloats: 1})
			r.Begin(4)
			r.Start(0, [][]float32{{1, 2}})
			stream.Send(v.then)
			if waitErr := r.Wait(0, make([]float32, 2)); waitErr == nil || !strings.Contains(waitErr.Error(), v.want) || v.code == codes.FailedPrecondition && !errors.Is(waitErr, ErrRefused) {
				t.Errorf("%s: Wait gives %v, want ErrRefused with %q", name, waitErr, v.want)
			}
			r.Close()
			for err == nil {
				_, err = stream.Recv()
			}
		}
		if status.Code(err) != v.code || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: the foreign trainer gets %v, want %v with %q", name, err, v.code, v.want)
		}
	}
}

func TestPickAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	both := "10.0.0.1:70,unix:" + path
	for _, v := range []struct{ address, process, host, want string }{
		{both, "here:12", "here", "unix:" + path},
		{"unix:" + path + ", 10.0.0.1:70", "here:12", "here", "unix:" + path},
		{both, "there:12", "here", "10.0.0.1:70"},
		{both, "", "", "10.0.0.1:70"},
		{"10.0.0.1:70,unix:" + path + ".gone", "here:12", "here", "10.0.0.1:70"},
		{"10.0.0.1:70", "here:12", "here", "10.0.0.1:70"},
		{"unix:" + path, "there:1", "here", ""},
		{"", "here:1", "here", ""},
	} {
		if got := PickAddress(&ditherv1.Member{Address: v.address, Process: v.process}, v.host); got != v.want {
			t.Errorf("to %q of process %q from %q: %q, want %q", v.address, v.process, v.host, got, v.want)
		}
	}
}
