// Package matfiletest writes MATLAB 5 files for tests of what reads them.
package matfiletest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
)

// Order is binary.LittleEndian or binary.BigEndian.
type Order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// Array is one variable of a file.
type Array struct {
	Name     string
	Dims     []int
	Values   any // a slice of a numeric type, the first dimension fastest; as many as Dims say, unless the file is to be wrong
	Compress bool
}

// File is a whole MATLAB 5 file.
func File(order Order, arrays ...Array) []byte {
	out := make([]byte, 128)
	copy(out, "MATLAB 5.0 MAT-file, written by a test")
	order.PutUint16(out[124:], 0x0100)
	order.PutUint16(out[126:], 'M'<<8|'I')
	for _, a := range arrays {
		e := element(order, 14, a.matrix(order))
		if a.Compress {
			var z bytes.Buffer
			w := zlib.NewWriter(&z)
			w.Write(e) // into memory: cannot fail
			w.Close()
			e = tag(order, 15, z.Len())
			e = append(e, z.Bytes()...)
		}
		out = append(out, e...)
	}
	return out
}

func (a Array) matrix(order Order) []byte {
	class, kind := codes(a.Values)
	flags := order.AppendUint32(order.AppendUint32(nil, class), 0)
	var dims []byte
	for _, d := range a.Dims {
		dims = order.AppendUint32(dims, uint32(d))
	}
	values, err := binary.Append(nil, order, a.Values)
	if err != nil {
		panic(err)
	}
	m := element(order, 6, flags)
	m = append(m, element(order, 5, dims)...)
	m = append(m, element(order, 1, []byte(a.Name))...)
	return append(m, element(order, kind, values)...)
}

// codes are the array class and the storage type.
func codes(values any) (class, kind uint32) {
	switch values.(type) {
	case []float64:
		return 6, 9
	case []float32:
		return 7, 7
	case []int8:
		return 8, 1
	case []uint8:
		return 9, 2
	case []int16:
		return 10, 3
	case []uint16:
		return 11, 4
	case []int32:
		return 12, 5
	case []uint32:
		return 13, 6
	case []int64:
		return 14, 12
	case []uint64:
		return 15, 13
	}
	panic(fmt.Sprintf("matfiletest: no MATLAB class for %T", values))
}

func tag(order Order, kind uint32, n int) []byte {
	return order.AppendUint32(order.AppendUint32(nil, kind), uint32(n))
}

// element writes data of 1 to 4 bytes inside the tag, as MATLAB does, and pads the rest to 8 bytes.
func element(order Order, kind uint32, data []byte) []byte {
	if n := len(data); n > 0 && n <= 4 && kind != 14 {
		return append(append(order.AppendUint32(nil, uint32(n)<<16|kind), data...), make([]byte, 4-n)...)
	}
	out := append(tag(order, kind, len(data)), data...)
	return append(out, make([]byte, -len(data)&7)...)
}
