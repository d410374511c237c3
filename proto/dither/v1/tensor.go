package ditherv1

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float32Tensor packs v, row-major, into a Tensor of the given shape; the product of the shape is len(v).
func Float32Tensor(v []float32, shape ...int64) *Tensor {
	data := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
	}
	return &Tensor{Dtype: ElementType_ELEMENT_TYPE_F32, Shape: shape, Data: data}
}

// Float64Tensor is Float32Tensor for float64.
func Float64Tensor(v []float64, shape ...int64) *Tensor {
	data := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(data[8*i:], math.Float64bits(x))
	}
	return &Tensor{Dtype: ElementType_ELEMENT_TYPE_F64, Shape: shape, Data: data}
}

// ReadFloat32 unpacks t into dst; an error says how its type, shape or size is not [shape] of F32 with len(dst) elements.
func (t *Tensor) ReadFloat32(dst []float32, shape ...int64) error {
	if err := t.check(ElementType_ELEMENT_TYPE_F32, 4, len(dst), shape); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return nil
}

// ReadFloat64 is ReadFloat32 for float64.
func (t *Tensor) ReadFloat64(dst []float64, shape ...int64) error {
	if err := t.check(ElementType_ELEMENT_TYPE_F64, 8, len(dst), shape); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return nil
}

func (t *Tensor) check(want ElementType, size, n int, shape []int64) error {
	if t == nil {
		return fmt.Errorf("no tensor where %v %v was expected", want, shape)
	}
	same := len(t.GetShape()) == len(shape)
	for i := range shape {
		same = same && t.GetShape()[i] == shape[i]
	}
	if t.GetDtype() != want || !same {
		return fmt.Errorf("a tensor %v %v where %v %v was expected", t.GetDtype(), t.GetShape(), want, shape)
	}
	if len(t.GetData()) != n*size {
		return fmt.Errorf("a tensor %v with %d bytes where its shape needs %d", t.GetShape(), len(t.GetData()), n*size)
	}
	return nil
}
