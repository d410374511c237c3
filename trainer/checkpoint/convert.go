package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float64s are the numbers of a floating-point tensor (F64, F32, F16 or BF16); exact.
func (r Raw) Float64s() ([]float64, error) {
	size := elementBytes[r.DType]
	at, err := r.float()
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(r.Data)/size)
	for i := range out {
		out[i] = at(r.Data[size*i:])
	}
	return out, nil
}

// Float32s are the same as float32: exact but for F64, which is rounded to nearest; a finite number beyond float32's range is refused (ErrRange).
func (r Raw) Float32s() ([]float32, error) {
	size := elementBytes[r.DType]
	if r.DType == "F32" { // bit by bit: a NaN keeps its payload
		out := make([]float32, len(r.Data)/size)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(r.Data[size*i:]))
		}
		return out, nil
	}
	at, err := r.float()
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(r.Data)/size)
	for i := range out {
		v := at(r.Data[size*i:])
		out[i] = float32(v)
		if math.IsInf(float64(out[i]), 0) && !math.IsInf(v, 0) {
			return nil, fmt.Errorf("element %d is %g: %w", i, v, ErrRange)
		}
	}
	return out, nil
}

// Int64s are the numbers of an integer tensor (I64, I32, I16, I8, U32, U16, U8 or BOOL).
func (r Raw) Int64s() ([]int64, error) {
	var at func(b []byte) int64
	le := binary.LittleEndian
	switch r.DType {
	case "I64":
		at = func(b []byte) int64 { return int64(le.Uint64(b)) }
	case "I32":
		at = func(b []byte) int64 { return int64(int32(le.Uint32(b))) }
	case "I16":
		at = func(b []byte) int64 { return int64(int16(le.Uint16(b))) }
	case "I8":
		at = func(b []byte) int64 { return int64(int8(b[0])) }
	case "U32":
		at = func(b []byte) int64 { return int64(le.Uint32(b)) }
	case "U16":
		at = func(b []byte) int64 { return int64(le.Uint16(b)) }
	case "U8", "BOOL":
		at = func(b []byte) int64 { return int64(b[0]) }
	default:
		return nil, fmt.Errorf("its elements are %s, not integers of at most 63 bits: %w", r.DType, ErrFormat)
	}
	size := elementBytes[r.DType]
	out := make([]int64, len(r.Data)/size)
	for i := range out {
		out[i] = at(r.Data[size*i:])
	}
	return out, nil
}

// float reads one element of a floating-point type.
func (r Raw) float() (func(b []byte) float64, error) {
	le := binary.LittleEndian
	switch r.DType {
	case "F64":
		return func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) }, nil
	case "F32":
		return func(b []byte) float64 { return float64(math.Float32frombits(le.Uint32(b))) }, nil
	case "BF16":
		return func(b []byte) float64 { return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16)) }, nil
	case "F16":
		return func(b []byte) float64 { return half(le.Uint16(b)) }, nil
	}
	return nil, fmt.Errorf("its elements are %s, not floating-point numbers: %w", r.DType, ErrFormat)
}

// half is IEEE 754 binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction.
func half(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exponent {
	case 0: // zero and the denormals
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}
