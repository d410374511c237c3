package matfile

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
)

// Types of a stored element.
const (
	miInt8       = 1
	miUint8      = 2
	miInt16      = 3
	miUint16     = 4
	miInt32      = 5
	miUint32     = 6
	miSingle     = 7
	miDouble     = 9
	miInt64      = 12
	miUint64     = 13
	miMatrix     = 14
	miCompressed = 15
)

// sizes has the bytes of one value of every numeric type.
var sizes = map[uint32]int{
	miInt8: 1, miUint8: 1, miInt16: 2, miUint16: 2, miInt32: 4, miUint32: 4, miSingle: 4, miDouble: 8, miInt64: 8, miUint64: 8,
}

// header reads everything before the values from body.
func (v *Variable) header(body io.Reader) (*Variable, error) {
	v.body = body
	flags, err := v.small(miUint32, 8, "array flags")
	if err != nil {
		return nil, err
	}
	if len(flags) != 8 {
		return nil, fmt.Errorf("%w: array flags of %d bytes, not 8", ErrFormat, len(flags))
	}
	dims, err := v.small(miInt32, 4*maxRank, "dimensions")
	if err != nil {
		return nil, err
	}
	if len(dims)%4 != 0 || len(dims) < 8 {
		return nil, fmt.Errorf("%w: dimensions of %d bytes, not two or more numbers of 4", ErrFormat, len(dims))
	}
	name, err := v.small(miInt8, maxName, "name")
	if err != nil {
		return nil, err
	}
	v.Name = string(bytes.TrimRight(name, "\x00"))
	// Classes 6..15 are double, single and the integers; the rest are cells, structs, text and sparse arrays.
	word := v.order.Uint32(flags)
	if class := word & 0xff; class < 6 || class > 15 || word&0x0800 != 0 {
		return nil, fmt.Errorf("%w: variable %q is of class %d (flags %#x), not a real numeric array", ErrFormat, v.Name, class, word>>8&0xff)
	}
	count := uint64(1)
	for ; len(dims) > 0; dims = dims[4:] {
		d := v.order.Uint32(dims)
		if d > math.MaxInt32 || (d > 0 && count > (1<<40)/uint64(d)) {
			return nil, fmt.Errorf("%w: variable %q has a dimension of %d, too large", ErrFormat, v.Name, d)
		}
		v.Dims, count = append(v.Dims, int(d)), count*uint64(d)
	}
	kind, n, err := v.tag("values")
	if err != nil {
		return nil, err
	}
	size, ok := sizes[kind]
	if !ok {
		return nil, fmt.Errorf("%w: variable %q stores values of type %d", ErrFormat, v.Name, kind)
	}
	if uint64(n) != count*uint64(size) {
		return nil, fmt.Errorf("%w: variable %q has %d values by its dimensions and %d bytes of %d each", ErrFormat, v.Name, count, n, size)
	}
	v.kind, v.left = kind, int64(count)
	return v, nil
}

// tag reads an element's type and bytes. An element of at most 4 bytes may have its data in the tag's second half, which then comes next in
// the body just as it does behind a whole tag.
func (v *Variable) tag(what string) (kind, n uint32, err error) {
	var w [4]byte
	if _, err := io.ReadFull(v.body, w[:]); err != nil {
		return 0, 0, cut(err, what)
	}
	kind = v.order.Uint32(w[:])
	if n = kind >> 16; n != 0 {
		if n > 4 {
			return 0, 0, fmt.Errorf("%w: %s of %d bytes inside a tag that has room for 4", ErrFormat, what, n)
		}
		v.pad = 4
		return kind & 0xffff, n, nil
	}
	if _, err := io.ReadFull(v.body, w[:]); err != nil {
		return 0, 0, cut(err, what)
	}
	v.pad = 8
	return kind, v.order.Uint32(w[:]), nil
}

// small reads a whole element of a known type and at most max bytes, with its padding.
func (v *Variable) small(kind uint32, max int, what string) ([]byte, error) {
	k, n, err := v.tag(what)
	if err != nil {
		return nil, err
	}
	if k != kind || int64(n) > int64(max) {
		return nil, fmt.Errorf("%w: %s of type %d and %d bytes, not of type %d and at most %d", ErrFormat, what, k, n, kind, max)
	}
	padded := make([]byte, (int(n)+v.pad-1)/v.pad*v.pad)
	if _, err := io.ReadFull(v.body, padded); err != nil {
		return nil, cut(err, what)
	}
	return padded[:n], nil
}

// Left is the number of values that have not been read yet.
func (v *Variable) Left() int64 { return v.left }

// ReadBytes fills p with the next values, in MATLAB's order (the first dimension fastest). Values may be stored as any numeric type, but each
// must be a whole number in 0..255. Asking for more than Left is an error. With the last value the checksum of a compressed variable is checked.
func (v *Variable) ReadBytes(p []byte) error {
	if int64(len(p)) > v.left {
		return fmt.Errorf("%w: variable %q has %d values left, and %d were asked for", ErrFormat, v.Name, v.left, len(p))
	}
	if v.kind == miUint8 {
		if _, err := io.ReadFull(v.body, p); err != nil {
			return cut(err, v.values())
		}
	} else if err := v.convert(p); err != nil {
		return err
	}
	v.left -= int64(len(p))
	if v.left > 0 || len(p) == 0 {
		return nil
	}
	// Only padding may follow; reading past it makes zlib compare its checksum.
	switch _, err := io.CopyN(io.Discard, v.body, 8); err {
	case nil:
		return fmt.Errorf("%w: more bytes follow %s", ErrFormat, v.values())
	case io.EOF:
		return nil
	default:
		return cut(err, v.values())
	}
}

// convert is ReadBytes for values that are not stored as bytes.
func (v *Variable) convert(p []byte) error {
	size := sizes[v.kind]
	buf := make([]byte, 512*size)
	for len(p) > 0 {
		n := min(len(p), 512)
		if _, err := io.ReadFull(v.body, buf[:n*size]); err != nil {
			return cut(err, v.values())
		}
		for i := range n {
			x, ok := v.value(buf[i*size:])
			if !ok {
				return fmt.Errorf("%w: %s are not all whole numbers from 0 to 255", ErrFormat, v.values())
			}
			p[i] = x
		}
		p = p[n:]
	}
	return nil
}

func (v *Variable) values() string { return fmt.Sprintf("the values of variable %q", v.Name) }

// value is the stored number at b's start if it is a whole number in 0..255.
func (v *Variable) value(b []byte) (byte, bool) {
	var u uint64 // a negative number becomes a great one
	switch v.kind {
	case miInt8:
		u = uint64(int8(b[0]))
	case miUint8:
		u = uint64(b[0])
	case miInt16:
		u = uint64(int16(v.order.Uint16(b)))
	case miUint16:
		u = uint64(v.order.Uint16(b))
	case miInt32:
		u = uint64(int32(v.order.Uint32(b)))
	case miUint32:
		u = uint64(v.order.Uint32(b))
	case miInt64, miUint64:
		u = v.order.Uint64(b)
	case miSingle:
		return whole(float64(math.Float32frombits(v.order.Uint32(b))))
	case miDouble:
		return whole(math.Float64frombits(v.order.Uint64(b)))
	}
	return byte(u), u <= 255
}

func whole(x float64) (byte, bool) {
	if !(x >= 0 && x <= 255) || x != math.Trunc(x) {
		return 0, false
	}
	return byte(x), true
}

// cut says that the file ends, or cannot be decompressed, inside of what; errors of the underlying reader are passed on.
func cut(err error, what string) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends inside %s", ErrFormat, what)
	case errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrDictionary), errors.As(err, &corrupt):
		return fmt.Errorf("%w: %s cannot be decompressed (%v)", ErrFormat, what, err)
	default:
		return fmt.Errorf("reading %s: %w", what, err)
	}
}
