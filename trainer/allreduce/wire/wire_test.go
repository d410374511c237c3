package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func frames() *rapid.Generator[*Frame] {
	return rapid.Custom(func(t *rapid.T) *Frame {
		f := &Frame{Reply: rapid.Bool().Draw(t, "reply")}
		f.Run = rapid.StringN(-1, 20, -1).Draw(t, "run")
		f.SpecSHA256 = rapid.SampledFrom([]string{"", "ab", strings.Repeat("0f", 32)}).Draw(t, "spec")
		f.Generation = rapid.Uint64().Draw(t, "generation")
		f.Chunk.Iteration = rapid.Uint32().Draw(t, "iteration")
		if !f.Reply {
			f.Rank = rapid.Uint32().Draw(t, "rank")
		}
		if rapid.Bool().Draw(t, "chunk") {
			f.Chunk.Kind = ditherv1.ChunkKind(rapid.Int32Range(0, 2).Draw(t, "kind"))
			f.Chunk.Bucket, f.Chunk.Index = rapid.Uint32().Draw(t, "bucket"), rapid.Uint32().Draw(t, "index")
			f.Chunk.First, f.Chunk.End = rapid.Uint32().Draw(t, "first"), rapid.Uint32().Draw(t, "end")
			n := rapid.SampledFrom([]int{0, 1, 2, 3, 7, 511, 512, 513, 5000}).Draw(t, "floats")
			f.Chunk.Data = Get(n)
			for i := range f.Chunk.Data.Writable() {
				f.Chunk.Data.Writable()[i] = float32(i) - 0.5
			}
		} else {
			f.Opened = rapid.Bool().Draw(t, "opened")
			if rapid.Bool().Draw(t, "share") {
				f.Share = &Share{Path: rapid.StringN(-1, 20, -1).Draw(t, "path"), Token: string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "token")),
					Slots: rapid.Uint32().Draw(t, "slots"), SlotBytes: rapid.Uint32().Draw(t, "slot bytes")}
			}
		}
		return f
	})
}

// generated is the message that protobuf would have in f's place.
func generated(f *Frame) proto.Message {
	var c *ditherv1.Chunk
	if f.Chunk.Data != nil {
		c = &ditherv1.Chunk{Kind: f.Chunk.Kind, Bucket: f.Chunk.Bucket, Chunk: f.Chunk.Index, FirstShard: f.Chunk.First, EndShard: f.Chunk.End}
		for _, v := range f.Chunk.Data.Floats() {
			c.Data = binary.LittleEndian.AppendUint32(c.Data, math.Float32bits(v))
		}
	}
	var share *ditherv1.Segment
	if s := f.Share; s != nil {
		share = &ditherv1.Segment{Path: s.Path, Token: []byte(s.Token), Slots: s.Slots, SlotBytes: s.SlotBytes}
	}
	if f.Reply {
		return &ditherv1.ExchangeResponse{Position: f.proto(), Chunk: c, Segment: share, Opened: f.Opened}
	}
	return &ditherv1.ExchangeRequest{Position: f.proto(), Rank: f.Rank, Chunk: c, Segment: share, Opened: f.Opened}
}

// pieces cuts a message as HTTP/2 might.
func pieces(b []byte, size int) (s mem.BufferSlice) {
	for len(b) > 0 {
		n := min(size, len(b))
		s = append(s, mem.SliceBuffer(b[:n]))
		b = b[n:]
	}
	return s
}

func TestFramesAreProtobuf(t *testing.T) {
	before := Outstanding()
	rapid.Check(t, func(t *rapid.T) {
		f := frames().Draw(t, "frame")
		message := generated(f)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		sent := *f
		out, err := Codec{}.Marshal(&sent)
		if err != nil {
			t.Fatal(err)
		}
		if sent.Chunk.Data != nil {
			t.Fatal("Marshal left the reference with the sender")
		}
		got := out.Materialize()
		out.Free()
		if !bytes.Equal(got, want) {
			t.Fatalf("marshalled to\n%x, protobuf gives\n%x", got, want)
		}

		back := Frame{Reply: f.Reply, Position: Position{Run: f.Run}}
		if err := (Codec{}).Unmarshal(pieces(want, rapid.IntRange(1, 3000).Draw(t, "piece")), &back); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(generated(&back), message) {
			t.Fatalf("read back as %v, want %v", generated(&back), message)
		}
		if back.Chunk.Data != nil {
			back.Chunk.Data.Release()
		}
	})
	if n := Outstanding() - before; n != 0 {
		t.Errorf("%d buffers leaked", n)
	}
}

// Whatever protobuf reads without groups, we read to the same message, and nothing that it cannot read.
func FuzzUnmarshal(f *testing.F) {
	data := Get(3)
	copy(data.Writable(), []float32{1, 2, 3})
	frame := Frame{Position: Position{Run: "run", SpecSHA256: "00", Generation: 4}, Rank: 1,
		Chunk: Chunk{Iteration: 5, Kind: 1, Bucket: 2, Index: 300, First: 4, End: 5, Data: data}}
	request, _ := proto.Marshal(generated(&frame))
	frame.Reply = true
	response, _ := proto.Marshal(generated(&frame))
	f.Add(request, false, 3)
	f.Add(response, true, 100)
	f.Add(append(request, response...), false, 7)                                               // a field twice, and one of the other message
	f.Add([]byte("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x7d\x01\x02\x03\x04"), false, 1) // a long number, an unknown field
	f.Add([]byte("\x0a\x05\x0a"), true, 1)
	f.Add([]byte("\xe0\xd8\xfc\xb100"), true, 221) // a field number that is too large
	hello, _ := proto.Marshal(&ditherv1.ExchangeRequest{Segment: &ditherv1.Segment{Path: "/proc/1/fd/3", Token: []byte("token"), Slots: 3, SlotBytes: 400}, Opened: true})
	f.Add(hello, false, 3)
	f.Add([]byte("\x12\x04\x38\x01\x40\x05"), true, 3) // a slot of a segment that is not open
	f.Add([]byte("\x1a\x03\x32\x01a"), false, 2)
	f.Fuzz(func(t *testing.T, b []byte, reply bool, size int) {
		if size < 1 {
			size = 1
		}
		got := Frame{Reply: reply}
		err := Codec{}.Unmarshal(pieces(b, size), &got)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("error %v is no ErrMalformed", err)
		}
		if err != nil && got.Chunk.Data != nil {
			t.Fatal("a buffer came with an error")
		}
		var want proto.Message = new(ditherv1.ExchangeRequest)
		if reply {
			want = new(ditherv1.ExchangeResponse)
		}
		protoErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, want)
		if err != nil {
			return // groups, bytes that are no whole floats
		}
		defer func() {
			if got.Chunk.Data != nil {
				got.Chunk.Data.Release()
			}
		}()
		if protoErr != nil {
			if strings.Contains(protoErr.Error(), "UTF-8") {
				return
			}
			t.Fatalf("read what protobuf refuses: %v", protoErr)
		}
		if a, b := marshal(t, generated(&got)), marshal(t, normal(want)); !bytes.Equal(a, b) {
			t.Fatalf("read as %v, protobuf reads %v", generated(&got), want)
		}
	})
}

// normal gives a message its position, which protobuf may not have read.
func normal(m proto.Message) proto.Message {
	switch m := m.(type) {
	case *ditherv1.ExchangeRequest:
		if m.Position == nil {
			m.Position = new(ditherv1.Position)
		}
	case *ditherv1.ExchangeResponse:
		if m.Position == nil {
			m.Position = new(ditherv1.Position)
		}
	}
	return m
}

func marshal(t *testing.T, m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMalformedFrames(t *testing.T) {
	for name, b := range map[string]string{
		"ends within a number":      "\x10\x80",
		"field longer than message": "\x1a\x7f\x08",
		"inner longer than outer":   "\x1a\x02\x32\x04abcd",
		"no whole floats":           "\x1a\x05\x32\x03abc",
		"more than 64 bits":         "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
		"field number 0":            "\x00\x01",
		"unknown field cut short":   "\x7d\x01",
		"a group":                   "\x7b\x7c",
	} {
		before := Outstanding()
		f := Frame{}
		if err := (Codec{}).Unmarshal(pieces([]byte(b), 1), &f); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
		if Outstanding() != before {
			t.Errorf("%s: a buffer leaked", name)
		}
	}
}

func TestOtherMessagesAreProtobufs(t *testing.T) {
	want := &ditherv1.FetchStateRequest{Position: &ditherv1.Position{Run: "r", Iteration: 3}}
	b, err := encoding.GetCodecV2(Name).Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := new(ditherv1.FetchStateRequest)
	if err := encoding.GetCodecV2(protocodec.Name).Unmarshal(b, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("protobuf read %v (%v), want %v", got, err, want)
	}
	got = new(ditherv1.FetchStateRequest)
	if err := encoding.GetCodecV2(Name).Unmarshal(b, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("read %v (%v), want %v", got, err, want)
	}
}

// What is handed to gRPC is the buffer's own memory.
func TestMarshalDoesNotCopy(t *testing.T) {
	if !littleEndian {
		t.Skip("this host's float32s do not lie in memory as they travel")
	}
	data := Get(1000)
	at := &data.bytes[0]
	out, err := Codec{}.Marshal(&Frame{Chunk: Chunk{Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	if last := out[len(out)-1].ReadOnlyData(); &last[0] != at || len(last) != 4000 {
		t.Error("the numbers were copied")
	}
	out.Free()
	mustPanic(t, "use after gRPC's release", func() { data.Floats() })
}

func TestSteadyFramesAllocateLittle(t *testing.T) {
	data := Get(1 << 14)
	defer data.Release()
	position := Position{Run: "a run with a name", SpecSHA256: strings.Repeat("ab", 32), Generation: 7}
	message, in := []byte(nil), Frame{}
	data.Retain(1)
	out, _ := Codec{}.Marshal(&Frame{Position: position, Chunk: Chunk{Kind: 1, Data: data}})
	message = out.Materialize()
	out.Free()
	cut := pieces(message, 1<<14)
	send := testing.AllocsPerRun(100, func() {
		data.Retain(1)
		f := Frame{Position: position, Chunk: Chunk{Kind: 1, Data: data}}
		out, _ := Codec{}.Marshal(&f)
		out.Free()
	})
	receive := testing.AllocsPerRun(100, func() {
		if err := (Codec{}).Unmarshal(cut, &in); err != nil {
			t.Fatal(err)
		}
		in.Chunk.Data.Release()
	})
	t.Logf("allocations of a frame: %v sent (gRPC's list of buffers, the frame in this test), %v received", send, receive)
	if raceEnabled {
		t.Skip("under the race detector pools forget on purpose")
	}
	if send > 2 || receive > 0 {
		t.Errorf("a frame takes %v allocations to send and %v to receive, want at most 2 and 0", send, receive)
	}
}

func TestReverse(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	if reverse(b); !bytes.Equal(b, []byte{4, 3, 2, 1, 8, 7, 6, 5}) {
		t.Errorf("reversed to %v", b)
	}
	v := rand.Float32()
	one, other := binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)), binary.BigEndian.AppendUint32(nil, math.Float32bits(v))
	if reverse(other); !bytes.Equal(one, other) {
		t.Errorf("a big-endian float32 travels as %v, want %v", other, one)
	}
}

func TestOwnershipIsChecked(t *testing.T) {
	b := Get(10)
	if b.Len() != 10 || len(b.Floats()) != 10 {
		t.Fatalf("a buffer of 10 has %d", b.Len())
	}
	b.Retain(1)
	mustPanic(t, "write to a shared buffer", func() { b.Writable() })
	b.Release()
	b.Writable()[9] = 1
	b.Release()
	mustPanic(t, "use after release", func() { b.Floats() })
	mustPanic(t, "write after release", func() { b.Writable() })
	mustPanic(t, "retain after release", func() { b.Retain(1) })
	b.refs.Store(0) // it lies in the pool
}

func TestOneReleaseTooMany(t *testing.T) {
	b := new(Buffer)
	b.refs.Store(1)
	b.memory = make([]float32, minFloats)
	outstanding.Add(1)
	b.Release()
	mustPanic(t, "second release", b.Release)
	b.refs.Store(0) // it lies in the pool
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}
