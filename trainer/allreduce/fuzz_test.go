package allreduce

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// rawBytes is a codec under another's name whose messages are any bytes.
type rawBytes struct{ name string }

func (rawBytes) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (rawBytes) Unmarshal(data []byte, v any) error { return nil }
func (c rawBytes) Name() string                     { return c.name }
func encoded(t testing.TB, m proto.Message) (b []byte) {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// until gives everyone else the processor until something holds.
func until(holds func() bool) bool {
	for begun := time.Now(); time.Since(begun) < 10*time.Second; runtime.Gosched() {
		if holds() {
			return true
		}
	}
	return false
}

// Whatever comes in at a trainer's port, before or after a good first frame: the trainer that waits is told, nobody panics, and nothing stays behind.
func FuzzExchange(f *testing.F) {
	at := func(iteration uint32) *ditherv1.Position {
		return &ditherv1.Position{Run: "local", SpecSha256: "local", Generation: 1, Iteration: iteration}
	}
	hello := encoded(f, &ditherv1.ExchangeRequest{Position: at(0)})
	chunk := func(c *ditherv1.Chunk) []byte {
		return encoded(f, &ditherv1.ExchangeRequest{Position: at(1), Chunk: c})
	}
	good := chunk(&ditherv1.Chunk{Kind: partial, Chunk: 1, EndShard: 1, Data: float(2)})
	for _, dither := range []bool{true, false} {
		f.Add(hello, good, dither)
		f.Add(good, good, dither)
		f.Add(hello, hello, dither)
		f.Add(hello, []byte("\x1a\x7f\x08"), dither)
		f.Add([]byte("\xff\xff\xff"), good, dither)
		f.Add(hello, chunk(&ditherv1.Chunk{Kind: partial, Chunk: 1, EndShard: 1, Data: make([]byte, 1<<20)}), dither)
		f.Add(hello, chunk(&ditherv1.Chunk{Kind: partial, Chunk: 1, EndShard: 1, Slot: 3, Floats: 1 << 31}), dither)
		f.Add(hello, chunk(&ditherv1.Chunk{Kind: whole, Chunk: 0, Data: float(1)}), dither)
		f.Add(hello, chunk(&ditherv1.Chunk{Kind: ditherv1.ChunkKind_CHUNK_KIND_BEAT, Data: float(1)}), dither)
		f.Add(hello, encoded(f, &ditherv1.ExchangeRequest{Position: at(1), Opened: true}), dither)
		f.Add(encoded(f, &ditherv1.ExchangeRequest{Position: at(0), Segment: &ditherv1.Segment{Path: "/proc/1/fd/0", Token: make([]byte, 32), Slots: 256, SlotBytes: 256 << 10}}), good, dither)
		f.Add(encoded(f, &ditherv1.ExchangeRequest{Position: at(0), Segment: &ditherv1.Segment{Path: "/etc/passwd", Token: make([]byte, 32), Slots: 256, SlotBytes: 256 << 10}}), good, dither)
	}
	f.Fuzz(func(t *testing.T, first, then []byte, dither bool) {
		before, goroutines := wire.Outstanding(), runtime.NumGoroutine()
		play(t, first, then, dither)
		if !until(func() bool { return wire.Outstanding() == before && runtime.NumGoroutine() <= goroutines }) {
			t.Errorf("%d buffers and %d goroutines stay behind", wire.Outstanding()-before, runtime.NumGoroutine()-goroutines)
		}
	})
}

// play sends two messages to a trainer of rank 1 that waits for its sum, and hangs up.
func play(t *testing.T, first, then []byte, dither bool) {
	l, err := listen(2, tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer l.stop()
	name := "proto"
	if dither {
		name = wire.Name
	}
	conn, err := grpc.NewClient("passthrough:///"+l.addresses[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawBytes{name}), grpc.CallContentSubtype(name)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// One of a later generation is let wait for as long as it likes.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, ditherv1.TrainerService_Exchange_FullMethodName)
	if err == nil {
		err = stream.SendMsg(first)
	}
	if err != nil {
		t.Fatal(err)
	}
	connecting, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	done := make(chan struct{})
	var accepted atomic.Bool
	go func() {
		defer close(done)
		tr, _, err := l.servers[1].Connect(connecting, Peers{Generation: 1, Rank: 1, Addresses: l.addresses})
		if err != nil {
			return
		}
		accepted.Store(true)
		r := New(Group{Rank: 1, Ranges: equalRanges(2, 2)}, tr, Options{ChunkFloats: 1})
		r.Begin(1)
		r.Start(0, [][]float32{{10, 20}})
		if sum := make([]float32, 2); r.Wait(0, sum) == nil {
			t.Errorf("the sum is %v, of one message", sum)
		}
		r.Close()
	}()
	var in []byte
	if stream.RecvMsg(&in) == nil { // it is let in
		stream.SendMsg(then)
		stream.CloseSend()
		for stream.RecvMsg(&in) == nil {
		}
	} else {
		giveUp()
	}
	<-done
	if strings.HasPrefix(string(first), "\xff") && accepted.Load() {
		t.Error("garbage was let in")
	}
}

// Bytes that are not even HTTP/2 are hung up on.
func TestGarbageAtThePort(t *testing.T) {
	l := mustListen(t, 1)
	for _, garbage := range []string{"GET / HTTP/1.1\r\nHost: trainer\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\xff", 100), strings.Repeat("\x00", 1000)} {
		conn, err := net.Dial("tcp", l.addresses[0])
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err = io.WriteString(conn, garbage); err == nil {
			_, err = io.Copy(io.Discard, conn)
		}
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("%q: the connection stays", garbage[:10])
		}
		conn.Close()
	}
}

// A message that is too large is refused before it is read.
func TestAMessageThatIsTooLarge(t *testing.T) {
	stream, connected := dialForeign(t, &ditherv1.ExchangeRequest{Position: newForeign().position(0)})
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	tr := <-connected
	go stream.Send(&ditherv1.ExchangeRequest{Position: newForeign().position(1), Chunk: &ditherv1.Chunk{Kind: partial, Data: make([]byte, maxMessageBytes+4)}})
	if _, err := tr.Recv(0); err == nil || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("Recv gives %v", err)
	}
	tr.Close(errOver)
}
