package noise

import (
	"encoding/binary"
	"fmt"
	"math"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// newTensor packs logits [n][classes].
func newTensor(n, classes int, logits []float32) *ditherv1.Tensor {
	data := make([]byte, 0, 4*len(logits))
	for _, x := range logits {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return &ditherv1.Tensor{Dtype: ditherv1.ElementType_ELEMENT_TYPE_F32, Shape: []int64{int64(n), int64(classes)}, Data: data}
}

// checkTensor says what keeps t from being F32 [n][classes]; classes < 1: any number of them. It answers the classes that t has.
func checkTensor(t *ditherv1.Tensor, n, classes int) (int, error) {
	want := fmt.Sprintf("[%d][classes]", n)
	if classes > 0 {
		want = fmt.Sprintf("[%d][%d]", n, classes)
	}
	s := t.GetShape()
	switch {
	case t == nil:
		return 0, fmt.Errorf("no logits, want %s", want)
	case t.GetDtype() != ditherv1.ElementType_ELEMENT_TYPE_F32:
		return 0, fmt.Errorf("logits of type %v, want ELEMENT_TYPE_F32", t.GetDtype())
	case len(s) != 2 || s[0] != int64(n) || s[1] < 1 || (classes > 0 && s[1] != int64(classes)):
		return 0, fmt.Errorf("logits of shape %v, want %s", s, want)
	case n == 0 && len(t.GetData()) == 0:
		return int(s[1]), nil
	case n == 0 || len(t.GetData())%(4*n) != 0 || int64(len(t.GetData())/(4*n)) != s[1]:
		return 0, fmt.Errorf("%d bytes of logits, which is not 4 bytes each for the shape %v", len(t.GetData()), s)
	}
	return int(s[1]), nil
}

// unpack writes the elements of a tensor that passed checkTensor to dst.
func unpack(dst []float32, t *ditherv1.Tensor) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.GetData()[4*i:]))
	}
}
