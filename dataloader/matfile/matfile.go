// Package matfile reads numeric arrays from MATLAB 5 files, one variable after another and as a stream: what it holds in memory does not
// depend on the sizes that a file claims. Source: "MAT-File Format", The MathWorks, chapter 1 (level 5 files).
//
// A file is a header of 128 bytes and then elements: a tag (type, bytes) and the data. A variable is an element of type miMATRIX that holds the
// elements array flags, dimensions, name and data, each padded to 8 bytes; or one of type miCOMPRESSED, whose data is a zlib stream of such an element.
package matfile

import (
	"bufio"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFormat is what every error about a file's content wraps.
var ErrFormat = errors.New("malformed MATLAB file")

const (
	maxRank = 8  // dimensions of an array that we take
	maxName = 63 // MATLAB's namelengthmax
)

// Reader gives the variables of a file in the order in which they stand. Not for concurrent use.
type Reader struct {
	r       *bufio.Reader
	order   binary.ByteOrder
	element io.LimitedReader // what is left of the present top-level element
}

// Variable is a numeric array. Its values are read with ReadBytes, before the Reader's next call of Next.
type Variable struct {
	Name   string
	Dims   []int // as MATLAB's size(); the first varies fastest
	Stored int64 // bytes that the variable takes in the file, compressed or not

	body  io.Reader
	order binary.ByteOrder
	kind  uint32 // how values are stored: an mi type, whatever the array's class
	pad   int    // the element behind the tag read last is padded to a multiple of so many bytes
	left  int64  // Invariant: values not read yet, 0 <= left <= product of Dims
}

// NewReader reads the header. Errors wrap ErrFormat or are r's own.
func NewReader(r io.Reader) (*Reader, error) {
	m := &Reader{r: bufio.NewReaderSize(r, 1<<16)}
	var h [128]byte
	if _, err := io.ReadFull(m.r, h[:]); err != nil {
		return nil, cut(err, "the header")
	}
	switch string(h[126:]) {
	case "IM":
		m.order = binary.LittleEndian
	case "MI":
		m.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("%w: no MATLAB 5 header", ErrFormat)
	}
	switch v := m.order.Uint16(h[124:]); v {
	case 0x0100:
	case 0x0200:
		return nil, fmt.Errorf("%w: version 7.3 (HDF5) is not read: save it with -v7", ErrFormat)
	default:
		return nil, fmt.Errorf("%w: version %#x, not 0x100", ErrFormat, v)
	}
	m.element = io.LimitedReader{R: m.r}
	return m, nil
}

// Next goes to the next variable, skipping what was not read of the one before; io.EOF after the last. Errors wrap ErrFormat or are the
// underlying reader's own.
func (m *Reader) Next() (*Variable, error) {
	if _, err := io.CopyN(io.Discard, &m.element, m.element.N); err != nil {
		return nil, cut(err, "an element")
	}
	if _, err := m.r.Peek(1); err == io.EOF {
		return nil, io.EOF
	}
	var tag [8]byte
	if _, err := io.ReadFull(m.r, tag[:]); err != nil {
		return nil, cut(err, "an element's tag")
	}
	kind, n := m.order.Uint32(tag[:]), m.order.Uint32(tag[4:])
	m.element.N = int64(n)
	v := &Variable{order: m.order, Stored: int64(n)}
	switch kind {
	case miMatrix:
		return v.header(&m.element)
	case miCompressed:
		z, err := zlib.NewReader(&m.element)
		if err != nil {
			return nil, cut(err, "a compressed element")
		}
		if _, err := io.ReadFull(z, tag[:]); err != nil {
			return nil, cut(err, "a compressed element")
		}
		if kind = m.order.Uint32(tag[:]); kind != miMatrix {
			return nil, fmt.Errorf("%w: a compressed element of type %d, not an array", ErrFormat, kind)
		}
		return v.header(z)
	default:
		return nil, fmt.Errorf("%w: an element of type %d where a variable should be", ErrFormat, kind)
	}
}
