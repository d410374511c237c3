package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Position is the part of a message's position that stays the same for as long as a generation lasts.
type Position struct {
	Run        string // name of the run
	SpecSHA256 string // hash of the run's spec (hex)
	Generation uint64
}

// Chunk is a piece of one bucket of one iteration. See dither.v1.Chunk.
type Chunk struct {
	Iteration  uint32
	Kind       ditherv1.ChunkKind
	Bucket     uint32
	Index      uint32
	First, End uint32  // the shards that a partial sums: [First, End)
	Data       *Buffer // nil: a frame without a chunk
}

// Frame is an ExchangeRequest, or with Reply an ExchangeResponse (which has no Rank).
type Frame struct {
	Position
	Reply bool
	Rank  uint32
	Chunk Chunk

	// In frames without a chunk:
	Share  *Share // what the sender shares
	Opened bool   // the sender has opened what the other shares

	Lend *Segment // to be sent: the sender's, which the receiver has opened; numbers that lie in it stay there. nil: they travel
	Peer *Segment // to be received: the sender's, which this side has opened; or nil
}

// Field numbers of trainer.proto.
const (
	framePosition = 1
	requestRank   = 2
	requestChunk  = 3
	responseChunk = 2
	// of the response; the request's are one higher
	frameShare  = 3
	frameOpened = 4

	positionRun        = 1
	positionSpec       = 2
	positionGeneration = 3
	positionIteration  = 4

	chunkKind   = 1
	chunkBucket = 2
	chunkIndex  = 3
	chunkFirst  = 4
	chunkEnd    = 5
	chunkData   = 6
	chunkSlot   = 7
	chunkFloats = 8

	sharePath      = 1
	shareToken     = 2
	shareSlots     = 3
	shareSlotBytes = 4
)

// appendHeader appends all of f but the chunk's numbers, which are its last bytes: what protobuf itself would have written.
func (f *Frame) appendHeader(b []byte) []byte {
	size := sizeString(positionRun, f.Run) + sizeString(positionSpec, f.SpecSHA256) +
		sizeUint(positionGeneration, f.Generation) + sizeUint(positionIteration, uint64(f.Chunk.Iteration))
	b = appendSize(b, framePosition, size)
	b = appendString(b, positionRun, f.Run)
	b = appendString(b, positionSpec, f.SpecSHA256)
	b = appendUint(b, positionGeneration, f.Generation)
	b = appendUint(b, positionIteration, uint64(f.Chunk.Iteration))
	field, more := protowire.Number(responseChunk), protowire.Number(0)
	if !f.Reply {
		b = appendUint(b, requestRank, uint64(f.Rank))
		field, more = requestChunk, 1
	}
	c := &f.Chunk
	if c.Data == nil {
		if f.Share != nil {
			b = f.Share.append(b, frameShare+more)
		}
		if f.Opened {
			b = appendUint(b, frameOpened+more, 1)
		}
		return b
	}
	n, slot, floats := len(c.Data.bytes), uint64(0), uint64(0)
	if f.lends() {
		n, slot, floats = 0, uint64(c.Data.slot)+1, uint64(c.Data.Len())
	}
	size = sizeUint(chunkKind, uint64(c.Kind)) + sizeUint(chunkBucket, uint64(c.Bucket)) + sizeUint(chunkIndex, uint64(c.Index)) +
		sizeUint(chunkFirst, uint64(c.First)) + sizeUint(chunkEnd, uint64(c.End)) + sizeUint(chunkSlot, slot) + sizeUint(chunkFloats, floats)
	if n > 0 {
		size += protowire.SizeTag(chunkData) + protowire.SizeBytes(n)
	}
	b = appendSize(b, field, size)
	b = appendUint(b, chunkKind, uint64(c.Kind))
	b = appendUint(b, chunkBucket, uint64(c.Bucket))
	b = appendUint(b, chunkIndex, uint64(c.Index))
	b = appendUint(b, chunkFirst, uint64(c.First))
	b = appendUint(b, chunkEnd, uint64(c.End))
	if n > 0 {
		b = appendSize(b, chunkData, n)
	}
	b = appendUint(b, chunkSlot, slot)
	return appendUint(b, chunkFloats, floats)
}

// lends says that the chunk's numbers stay where they lie.
func (f *Frame) lends() bool {
	data := f.Chunk.Data
	return f.Lend != nil && data.segment == f.Lend && !data.fixed
}

func (s *Share) append(b []byte, field protowire.Number) []byte {
	b = appendSize(b, field, sizeString(sharePath, s.Path)+sizeString(shareToken, s.Token)+sizeUint(shareSlots, uint64(s.Slots))+sizeUint(shareSlotBytes, uint64(s.SlotBytes)))
	b = appendString(b, sharePath, s.Path)
	b = appendString(b, shareToken, s.Token)
	b = appendUint(b, shareSlots, uint64(s.Slots))
	return appendUint(b, shareSlotBytes, uint64(s.SlotBytes))
}

// proto3 leaves out what is zero.

func sizeUint(field protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeVarint(v)
}

func sizeString(field protowire.Number, s string) int {
	if s == "" {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeBytes(len(s))
}

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendSize(b []byte, field protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
}
