package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSafetensorsRoundTrip(t *testing.T) {
	want := map[string]Raw{
		"logits": {"F64", []int{2, 1}, binary.LittleEndian.AppendUint64(make([]byte, 8), math.Float64bits(-1.5))},
		"labels": {"I64", []int{3}, bytes.Repeat([]byte{0xff}, 24)},
		"empty":  {"F32", []int{0, 7}, []byte{}},
		"scalar": {"U8", []int{}, []byte{9}},
		"a<\"é":  {"BF16", []int{1}, []byte{0x80, 0x3f}},
	}
	meta := map[string]string{"format": "pt", "quote": "\"<\\"}
	path := filepath.Join(t.TempDir(), "x")
	if err := WriteSafetensors(path, want, meta); err != nil {
		t.Fatal(err)
	}
	got, gotMeta, err := ReadSafetensors(path)
	if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotMeta, meta) {
		t.Errorf("%v %v: %v", got, gotMeta, err)
	}
	if err := WriteSafetensors(path, map[string]Raw{"x": {"F32", []int{2}, make([]byte, 4)}}, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("a tensor with too few bytes: %v", err)
	}
	if f, err := got["logits"].Float64s(); err != nil || !slices.Equal(f, []float64{0, -1.5}) {
		t.Errorf("%v %v", f, err)
	}
	if n, err := got["labels"].Int64s(); err != nil || !slices.Equal(n, []int64{-1, -1, -1}) {
		t.Errorf("%v %v", n, err)
	}
}

func TestConversions(t *testing.T) {
	inf := math.Inf(1)
	for _, test := range []struct {
		dtype string
		bits  uint64
		want  float64
	}{
		{"F16", 0x3c00, 1}, {"F16", 0xc000, -2}, {"F16", 0x7bff, 65504}, {"F16", 0x0001, math.Ldexp(1, -24)}, {"F16", 0x83ff, -math.Ldexp(1023, -24)},
		{"F16", 0x0400, math.Ldexp(1, -14)}, {"F16", 0x7c00, inf}, {"F16", 0xfc00, -inf}, {"F16", 0x3555, 0.333251953125},
		{"BF16", 0x3f80, 1}, {"BF16", 0xff80, -inf}, {"BF16", 0x0001, math.Ldexp(1, -133)},
		{"F32", 0x00000001, math.Ldexp(1, -149)}, {"F64", math.Float64bits(0.1), 0.1},
	} {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], test.bits)
		r := Raw{test.dtype, []int{1}, b[:elementBytes[test.dtype]]}
		wide, err := r.Float64s()
		if err != nil || wide[0] != test.want {
			t.Errorf("%s %#x is %v: %v", test.dtype, test.bits, wide, err)
		}
		narrow, err := r.Float32s()
		if err != nil || narrow[0] != float32(test.want) {
			t.Errorf("%s %#x is %v: %v", test.dtype, test.bits, narrow, err)
		}
	}
	nan := Raw{"F16", []int{1}, []byte{1, 0x7c}}
	if v, err := nan.Float32s(); err != nil || v[0] == v[0] {
		t.Errorf("a half NaN is %v: %v", v, err)
	}
	if _, err := (Raw{"F64", []int{1}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(-3.5e38))}).Float32s(); !errors.Is(err, ErrRange) {
		t.Errorf("beyond float32: %v", err)
	}
	if _, err := (Raw{"I64", []int{1}, make([]byte, 8)}).Float64s(); !errors.Is(err, ErrFormat) {
		t.Errorf("integers as floats: %v", err)
	}
	if _, err := (Raw{"F32", []int{1}, make([]byte, 4)}).Int64s(); !errors.Is(err, ErrFormat) {
		t.Errorf("floats as integers: %v", err)
	}
	for dtype, want := range map[string]int64{"I32": -2, "I16": -2, "I8": -2, "U32": 1<<32 - 2, "U16": 1<<16 - 2, "U8": 254} {
		b := bytes.Repeat([]byte{0xff}, elementBytes[dtype])
		b[0] = 0xfe
		if got, err := (Raw{dtype, []int{1}, b}).Int64s(); err != nil || got[0] != want {
			t.Errorf("%s: %v %v", dtype, got, err)
		}
	}
}

func TestSafetensorsRefuses(t *testing.T) {
	for _, test := range []struct {
		header string
		body   int
		want   error
		text   string
	}{
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12, ErrFormat, "offsets overlap"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, ErrFormat, "leave a hole"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,-4]}}`, 8, ErrFormat, "run backwards"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4, ErrFormat, "F32 [2], is given 4 bytes"},
		{`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0, ErrFormat, "is given 0 bytes"},
		{`{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, 4, ErrFormat, "is given 4 bytes"},
		{`{"a":{"dtype":"F32","shape":[0,-1],"data_offsets":[0,0]}}`, 0, ErrFormat, "is given 0 bytes"},
		{`{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}`, 4, ErrFormat, `unknown type "F99"`},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4, ErrFormat, "no two data_offsets"},
		{`{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}`, 4, ErrFormat, "header is damaged"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, ErrDuplicate, "tensor a comes twice"},
		{`{"a":{"dtype":"F32","shape":[99999999],"data_offsets":[0,399999996]}}`, 4, ErrCut, "ends at byte 399999996"},
		{`{"a":`, 0, ErrFormat, "header is damaged"},
		{`{} x`, 0, ErrFormat, "text after the object"},
		{`{"__metadata__":{"a":1}}`, 0, ErrFormat, "header is damaged"},
		{`[]`, 0, ErrFormat, "no JSON object"},
	} {
		data := binary.LittleEndian.AppendUint64(nil, uint64(len(test.header)))
		data = append(append(data, test.header...), make([]byte, test.body)...)
		_, _, err := parseSafetensors(data)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", test.header, err)
		}
	}
	huge := append(binary.LittleEndian.AppendUint64(nil, 1<<63), "{}"...)
	if _, _, err := parseSafetensors(huge); !errors.Is(err, ErrFormat) {
		t.Errorf("a huge header: %v", err)
	}
}

func TestGoldenFile(t *testing.T) {
	raw, meta, err := ReadSafetensors(shared(t, "golden", "resnet20_eval.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	logits, err := raw["logits"].Float64s()
	if err != nil || len(logits) != 2560 || meta["mode"] != "eval" || fmt.Sprint(raw["logits"].Shape) != "[256 10]" {
		t.Errorf("%d logits, %v: %v", len(logits), meta, err)
	}
	labels, err := raw["labels"].Int64s()
	if err != nil || len(labels) != 256 || labels[0] != 3 {
		t.Errorf("labels %v: %v", labels, err)
	}
}

// FuzzDecode: no bytes make the reader panic, and it takes no more memory than it should (the fuzzer's own limit would end it).
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.p*")
	for _, file := range files {
		if data, err := readFile(file); err == nil {
			f.Add(data)
		}
	}
	var b bytes.Buffer
	filled(map[string][]int{"a.weight": {3}, "b.running_var": {2}}, true).Encode(&b)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeAny(data)
		if (c == nil) == (err == nil) {
			t.Fatal("neither a checkpoint nor an error, or both")
		}
		if c != nil && c.Encode(&bytes.Buffer{}) != nil {
			t.Fatal("what was read cannot be written")
		}
	})
}
