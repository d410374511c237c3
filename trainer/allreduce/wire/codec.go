package wire

import (
	"slices"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Name is the content-subtype under which a server finds the codec. The bytes are protobuf's; a server without it can take them for that.
const Name = "dither"

func init() { encoding.RegisterCodecV2(Codec{}) }

// Codec writes a *Frame as a short header and the buffer itself, uncopied, and reads one into a buffer from the pool. Other messages are protobuf's.
//
// Marshal takes over the reference of the frame's chunk, and says so by setting Data to nil; gRPC releases it once the bytes are written. Where Data is still
// set after a send, the send failed before that and the reference is the sender's. Unmarshal gives the receiver the reference of the chunk that it reads.
type Codec struct{}

// Name is the codec's content-subtype.
func (Codec) Name() string { return Name }

// Marshal encodes v.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*Frame)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Marshal(v)
	}
	h := headers.Get().(*header)
	h.bytes = f.appendHeader(h.bytes[:0])
	data := f.Chunk.Data
	if data != nil && f.lends() { // the reference is the receiver's from now on
		f.Lend.counts[data.slot].Add(1)
		f.Chunk.Data = nil
		data.Release()
		return mem.BufferSlice{mem.NewBuffer(&h.bytes, h)}, nil
	}
	if data == nil || data.Len() == 0 {
		f.Chunk.Data = nil
		if data != nil {
			data.Release()
		}
		return mem.BufferSlice{mem.NewBuffer(&h.bytes, h)}, nil
	}
	if !littleEndian { // a copy: other holders read the numbers in the host's order
		turned := Get(data.Len())
		copy(turned.bytes, data.bytes)
		reverse(turned.bytes)
		data.Release()
		data = turned
	}
	f.Chunk.Data = nil
	return mem.BufferSlice{mem.NewBuffer(&h.bytes, h), mem.NewBuffer(&data.bytes, (*release)(data))}, nil
}

// Unmarshal decodes v, whose Reply says which message it is.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*Frame)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
	}
	c := cursor{pieces: data, left: data.Len()}
	err := c.frame(f)
	if err != nil && f.Chunk.Data != nil {
		f.Chunk.Data.Release()
		f.Chunk.Data = nil
	}
	return err
}

// header is the memory of a frame's header, back in its pool once gRPC has written it.
type header struct{ bytes []byte }

// headers are larger than they need be: see minFloats.
var headers = sync.Pool{New: func() any { return &header{bytes: make([]byte, 0, 4*minFloats)} }}

func (*header) Get(int) *[]byte { panic("allreduce: a single header is no pool to take from") }
func (h *header) Put(*[]byte)   { headers.Put(h) }

// Stream is what a frame is sent and received on: a gRPC stream of either side.
type Stream interface {
	SendMsg(any) error
	RecvMsg(any) error
}

// Plain is a server's stream to a peer who knows only protobuf: frames are turned into generated messages, with a copy.
type Plain struct{ Stream }

// SendMsg sends a *Frame as an ExchangeResponse.
func (p Plain) SendMsg(v any) error {
	f := v.(*Frame)
	m := &ditherv1.ExchangeResponse{Position: f.proto()}
	if data := f.Chunk.Data; data != nil {
		m.Chunk = &ditherv1.Chunk{Kind: f.Chunk.Kind, Bucket: f.Chunk.Bucket, Chunk: f.Chunk.Index, FirstShard: f.Chunk.First, EndShard: f.Chunk.End,
			Data: slices.Clone(data.bytes)}
		if !littleEndian {
			reverse(m.Chunk.Data)
		}
		f.Chunk.Data = nil
		data.Release()
	}
	return p.Stream.SendMsg(m)
}

// RecvMsg receives an ExchangeRequest as a *Frame.
func (p Plain) RecvMsg(v any) error {
	f := v.(*Frame)
	m := new(ditherv1.ExchangeRequest)
	if err := p.Stream.RecvMsg(m); err != nil {
		return err
	}
	b, err := encoding.GetCodecV2(proto.Name).Marshal(m)
	if err != nil {
		return err
	}
	defer b.Free()
	return Codec{}.Unmarshal(b, f)
}

func (f *Frame) proto() *ditherv1.Position {
	return &ditherv1.Position{Run: f.Run, SpecSha256: f.SpecSHA256, Generation: f.Generation, Iteration: f.Chunk.Iteration}
}
