package matfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dither-ml/dither/dataloader/matfile"
	"github.com/dither-ml/dither/dataloader/matfile/matfiletest"
)

// readAll reads every variable, in pieces of step values.
func readAll(file []byte, step int) (map[string][]byte, error) {
	m, err := matfile.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for {
		v, err := m.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var values []byte
		for v.Left() > 0 {
			p := make([]byte, min(int64(step), v.Left()))
			if err := v.ReadBytes(p); err != nil {
				return nil, err
			}
			values = append(values, p...)
		}
		out[v.Name] = values
	}
}

func stored(kind int, values []byte) any {
	switch kind {
	case 0:
		return values
	case 1:
		return convert[float64](values)
	case 2:
		return convert[float32](values)
	case 3:
		return convert[uint16](values)
	case 4:
		return convert[int16](values)
	case 5:
		return convert[uint32](values)
	case 6:
		return convert[int32](values)
	case 7:
		return convert[uint64](values)
	default:
		return convert[int64](values)
	}
}

func convert[T float64 | float32 | uint16 | int16 | uint32 | int32 | uint64 | int64](values []byte) []T {
	out := make([]T, len(values))
	for i, v := range values {
		out[i] = T(v)
	}
	return out
}

func TestReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var order matfiletest.Order = binary.LittleEndian
		if rapid.Bool().Draw(t, "big endian") {
			order = binary.BigEndian
		}
		want := map[string][]byte{}
		var arrays []matfiletest.Array
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z]\w{0,9}`), 0, 4, rapid.ID).Draw(t, "names") {
			dims := rapid.SliceOfN(rapid.IntRange(0, 7), 2, 4).Draw(t, "dims")
			n := 1
			for _, d := range dims {
				n *= d
			}
			values := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "values")
			want[name] = values
			arrays = append(arrays, matfiletest.Array{Name: name, Dims: dims, Compress: rapid.Bool().Draw(t, "compress"),
				Values: stored(rapid.IntRange(0, 8).Draw(t, "kind"), values)})
		}
		got, err := readAll(matfiletest.File(order, arrays...), rapid.IntRange(1, 700).Draw(t, "step"))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d variables, want %d", len(got), len(want))
		}
		for name, values := range want {
			if !bytes.Equal(got[name], values) {
				t.Fatalf("%s = %v, want %v", name, got[name], values)
			}
		}
	})
}

func TestSkipsUnreadValues(t *testing.T) {
	file := matfiletest.File(binary.LittleEndian,
		matfiletest.Array{Name: "X", Dims: []int{100, 100}, Values: make([]byte, 10000), Compress: true},
		matfiletest.Array{Name: "Z", Dims: []int{100, 1}, Values: make([]float64, 100)},
		matfiletest.Array{Name: "y", Dims: []int{2, 1}, Values: []byte{7, 9}, Compress: true})
	m, err := matfile.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X", "Z", "y"} {
		v, err := m.Next()
		if err != nil || v.Name != name {
			t.Fatalf("Next() = %v, %v, want %s", v, err, name)
		}
		if err := v.ReadBytes(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Next(); err != io.EOF {
		t.Fatalf("after the last variable: %v, want io.EOF", err)
	}
}

func TestRefuses(t *testing.T) {
	le := binary.LittleEndian
	x := matfiletest.Array{Name: "X", Dims: []int{40, 50}, Values: bytes.Repeat([]byte{1, 2, 3, 4, 5}, 400), Compress: true}
	good := matfiletest.File(le, x)
	plain := x
	plain.Compress = false
	edit := func(file []byte, at int, b ...byte) []byte {
		return slices.Concat(file[:at], b, file[at+len(b):])
	}
	uncompressed := matfiletest.File(le, plain)
	for _, c := range []struct {
		name, want string
		file       []byte
	}{
		{"no header", "ends inside the header", good[:100]},
		{"other file", "no MATLAB 5 header", make([]byte, 200)},
		{"HDF5", "save it with -v7", edit(good, 124, 0, 2)},
		{"a tag cut", "ends inside an element's tag", good[:132]},
		{"an array cut", "ends inside the values of variable \"X\"", good[:len(good)-9]},
		{"an uncompressed array cut", "ends inside the values", uncompressed[:len(uncompressed)-9]},
		{"zlib header", "cannot be decompressed", edit(good, 136, 0xff)},
		{"zlib checksum", "checksum", edit(good, len(good)-2, good[len(good)-2]^1)},
		{"text", "where a variable should be", edit(good, 128, 1)},
		{"a cell array", "class 1", edit(uncompressed, 144, 1)},
		{"complex", "class 9 (flags 0x8)", edit(uncompressed, 145, 8)},
		{"fewer values", "by its dimensions", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: []int{9, 1}, Values: make([]byte, 8)})},
		{"huge", "too large", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: []int{math.MaxInt32, math.MaxInt32}, Values: []byte{}})},
		{"rank", "dimensions of type 5", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: make([]int, 9), Values: []byte{}})},
		{"name", "name of type 1", matfiletest.File(le, matfiletest.Array{Name: strings.Repeat("n", 64), Dims: []int{0, 0}, Values: []byte{}})},
		{"too great", "whole numbers", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: []int{1, 1}, Values: []uint16{256}})},
		{"negative", "whole numbers", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: []int{1, 1}, Values: []int8{-1}})},
		{"fraction", "whole numbers", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: []int{1, 1}, Values: []float64{1.5}})},
		{"not a number", "whole numbers", matfiletest.File(le, matfiletest.Array{Name: "y", Dims: []int{1, 1}, Values: []float64{math.NaN()}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readAll(c.file, 512)
			if !errors.Is(err, matfile.ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrFormat with %q", err, c.want)
			}
		})
	}
}

func TestAskingForTooMany(t *testing.T) {
	m, err := matfile.NewReader(bytes.NewReader(matfiletest.File(binary.LittleEndian, matfiletest.Array{Name: "y", Dims: []int{2, 1}, Values: []byte{1, 2}})))
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.ReadBytes(make([]byte, 3)); !errors.Is(err, matfile.ErrFormat) {
		t.Errorf("reading 3 of 2 values: %v", err)
	}
}

// FuzzReader: no input may panic or make the reader give more values than the dimensions say.
func FuzzReader(f *testing.F) {
	for _, compress := range []bool{false, true} {
		for kind := range 9 {
			f.Add(matfiletest.File(binary.LittleEndian, matfiletest.Array{Name: "X", Dims: []int{2, 3, 1}, Values: stored(kind, []byte{1, 2, 3, 4, 5, 6}), Compress: compress},
				matfiletest.Array{Name: "y", Dims: []int{1, 1}, Values: stored(kind, []byte{10}), Compress: compress}))
		}
	}
	f.Add(matfiletest.File(binary.BigEndian, matfiletest.Array{Name: "X", Dims: []int{0, 1}, Values: []byte{}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := matfile.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		p := make([]byte, 1000)
		for {
			v, err := m.Next()
			if err != nil {
				if err != io.EOF && !errors.Is(err, matfile.ErrFormat) {
					t.Fatalf("an error of another kind: %v", err)
				}
				return
			}
			want := int64(1)
			for _, d := range v.Dims {
				want *= int64(d)
			}
			if v.Left() != want {
				t.Fatalf("%d values for dimensions %v", v.Left(), v.Dims)
			}
			for read := 0; v.Left() > 0 && read < 1<<20; read += len(p) {
				if err := v.ReadBytes(p[:min(v.Left(), int64(len(p)))]); err != nil {
					if !errors.Is(err, matfile.ErrFormat) {
						t.Fatalf("an error of another kind: %v", err)
					}
					break
				}
			}
		}
	})
}
