package wire

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// ErrMalformed is what a message wraps that is no ExchangeRequest or ExchangeResponse.
var ErrMalformed = errors.New("malformed frame")

// cursor reads a message that lies in several pieces, as HTTP/2 frames bring it, so that the numbers are copied once, to where they stay.
type cursor struct {
	pieces mem.BufferSlice // those not yet begun
	piece  []byte          // what is left of the one begun
	left   int             // bytes left of the message
}

// tag reads the next field's number and type, or 0 where only end bytes of the message are left.
func (c *cursor) tag(end int) (protowire.Number, protowire.Type, error) {
	if c.left == end {
		return 0, 0, nil
	}
	v, err := c.varint(end)
	if err != nil {
		return 0, 0, err
	}
	field, kind := protowire.DecodeTag(v)
	if field < protowire.MinValidNumber || field > protowire.MaxValidNumber {
		return 0, 0, fmt.Errorf("%w: field number %d", ErrMalformed, field)
	}
	return field, kind, nil
}

func (c *cursor) varint(end int) (uint64, error) {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		if c.left == end {
			return 0, fmt.Errorf("%w: it ends within a number", ErrMalformed)
		}
		b := c.next()[0]
		c.skip(1)
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a number of more than 64 bits", ErrMalformed)
}

// size reads the length of a field and says where the field ends, as bytes left.
func (c *cursor) size(end int) (n, fieldEnd int, err error) {
	v, err := c.varint(end)
	if err != nil {
		return 0, 0, err
	}
	if v > uint64(c.left-end) {
		return 0, 0, fmt.Errorf("%w: a field of %d bytes where %d are left", ErrMalformed, v, c.left-end)
	}
	return int(v), c.left - int(v), nil
}

// next is what can be read without leaving a piece; at least one byte, of which there must be one.
func (c *cursor) next() []byte {
	for len(c.piece) == 0 {
		c.piece, c.pieces = c.pieces[0].ReadOnlyData(), c.pieces[1:]
	}
	return c.piece
}

// skip passes over n bytes of the message, which must be there.
func (c *cursor) skip(n int) {
	c.left -= n
	for n > 0 {
		k := min(n, len(c.next()))
		c.piece = c.piece[k:]
		n -= k
	}
}

// fill copies the next len(dst) bytes, which must be there.
func (c *cursor) fill(dst []byte) {
	for len(dst) > 0 {
		k := copy(dst, c.next())
		c.skip(k)
		dst = dst[k:]
	}
}

// skipField passes over a field that is not known, as protobuf asks for.
func (c *cursor) skipField(kind protowire.Type, end int) error {
	n := 0
	var err error
	switch kind {
	case protowire.VarintType:
		_, err = c.varint(end)
	case protowire.BytesType:
		n, _, err = c.size(end)
	case protowire.Fixed32Type:
		n = 4
	case protowire.Fixed64Type:
		n = 8
	default:
		err = fmt.Errorf("%w: wire type %d", ErrMalformed, kind)
	}
	if err == nil && n > c.left-end {
		err = fmt.Errorf("%w: a field of %d bytes where %d are left", ErrMalformed, n, c.left-end)
	}
	if err == nil {
		c.skip(n)
	}
	return err
}

// frame reads a whole message into f, whose Reply says which. Strings that are what f holds already are not allocated anew.
func (c *cursor) frame(f *Frame) error {
	run, spec := f.Run, f.SpecSHA256
	*f = Frame{Reply: f.Reply, Peer: f.Peer}
	chunk, more := protowire.Number(requestChunk), protowire.Number(1)
	if f.Reply {
		chunk, more = responseChunk, 0
	}
	for {
		field, kind, err := c.tag(0)
		switch {
		case err != nil || field == 0:
			return err
		case field == framePosition && kind == protowire.BytesType:
			err = c.position(f, run, spec)
		case field == chunk && kind == protowire.BytesType:
			err = c.chunk(&f.Chunk, f.Peer)
		case field == frameShare+more && kind == protowire.BytesType:
			err = c.share(f)
		case field == frameOpened+more && kind == protowire.VarintType:
			var v uint64
			v, err = c.varint(0)
			f.Opened = v != 0
		case field == requestRank && !f.Reply && kind == protowire.VarintType:
			err = c.uint32(&f.Rank, 0)
		default:
			err = c.skipField(kind, 0)
		}
		if err != nil {
			return err
		}
	}
}

func (c *cursor) position(f *Frame, run, spec string) error {
	_, end, err := c.size(0)
	for err == nil {
		field, kind, tagErr := c.tag(end)
		switch {
		case tagErr != nil || field == 0:
			return tagErr
		case field == positionRun && kind == protowire.BytesType:
			f.Run, err = c.text(run, end)
		case field == positionSpec && kind == protowire.BytesType:
			f.SpecSHA256, err = c.text(spec, end)
		case field == positionGeneration && kind == protowire.VarintType:
			f.Generation, err = c.varint(end)
		case field == positionIteration && kind == protowire.VarintType:
			err = c.uint32(&f.Chunk.Iteration, end)
		default:
			err = c.skipField(kind, end)
		}
	}
	return err
}

func (c *cursor) share(f *Frame) error {
	_, end, err := c.size(0)
	if f.Share == nil {
		f.Share = new(Share)
	}
	s := f.Share
	for err == nil {
		field, kind, tagErr := c.tag(end)
		switch {
		case tagErr != nil || field == 0:
			return tagErr
		case field == sharePath && kind == protowire.BytesType:
			s.Path, err = c.text("", end)
		case field == shareToken && kind == protowire.BytesType:
			s.Token, err = c.text("", end)
		case field == shareSlots && kind == protowire.VarintType:
			err = c.uint32(&s.Slots, end)
		case field == shareSlotBytes && kind == protowire.VarintType:
			err = c.uint32(&s.SlotBytes, end)
		default:
			err = c.skipField(kind, end)
		}
	}
	return err
}

func (c *cursor) chunk(to *Chunk, peer *Segment) error {
	var slot, floats uint32
	_, end, err := c.size(0)
	if err == nil && to.Data == nil {
		to.Data = Get(0)
	}
	for err == nil {
		field, kind, tagErr := c.tag(end)
		switch {
		case tagErr == nil && field == 0 && slot|floats != 0:
			to.Data.Release()
			to.Data, err = peer.View(slot, floats)
			return err
		case tagErr != nil || field == 0:
			return tagErr
		case field == chunkKind && kind == protowire.VarintType:
			var v uint64
			v, err = c.varint(end)
			to.Kind = ditherv1.ChunkKind(v)
		case field == chunkBucket && kind == protowire.VarintType:
			err = c.uint32(&to.Bucket, end)
		case field == chunkIndex && kind == protowire.VarintType:
			err = c.uint32(&to.Index, end)
		case field == chunkFirst && kind == protowire.VarintType:
			err = c.uint32(&to.First, end)
		case field == chunkEnd && kind == protowire.VarintType:
			err = c.uint32(&to.End, end)
		case field == chunkData && kind == protowire.BytesType:
			err = c.numbers(to, end)
		case field == chunkSlot && kind == protowire.VarintType:
			err = c.uint32(&slot, end)
		case field == chunkFloats && kind == protowire.VarintType:
			err = c.uint32(&floats, end)
		default:
			err = c.skipField(kind, end)
		}
	}
	return err
}

func (c *cursor) uint32(to *uint32, end int) error {
	v, err := c.varint(end)
	*to = uint32(v)
	return err
}

// text reads a string; where it is the one expected, that is what it gives.
func (c *cursor) text(expected string, end int) (string, error) {
	n, _, err := c.size(end)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", nil
	}
	if n <= len(c.next()) {
		s := c.piece[:n]
		c.skip(n)
		if string(s) == expected {
			return expected, nil
		}
		return string(s), nil
	}
	s := make([]byte, n)
	c.fill(s)
	return string(s), nil
}

// numbers reads the chunk's float32s into a buffer from the pool.
func (c *cursor) numbers(to *Chunk, end int) error {
	n, _, err := c.size(end)
	if err != nil {
		return err
	}
	if n%4 != 0 {
		return fmt.Errorf("%w: %d bytes of numbers, not a multiple of 4", ErrMalformed, n)
	}
	to.Data.Release()
	to.Data = Get(n / 4)
	c.fill(to.Data.bytes)
	if !littleEndian {
		reverse(to.Data.bytes)
	}
	return nil
}
