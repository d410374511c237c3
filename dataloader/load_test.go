package dataloader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dither-ml/dither/dataloader/matfile/matfiletest"
)

func write(t testing.TB, dir, rel string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, rel)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// records is a CIFAR file with the class of record i in last, before it for CIFAR-100 a coarse label, and random pixels.
func records(seed uint64, coarse bool, last ...byte) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	var out []byte
	for _, l := range last {
		if coarse {
			out = append(out, l/5)
		}
		out = append(out, l)
		for range 3072 {
			out = append(out, byte(r.Uint32()))
		}
	}
	return out
}

// mat is an SVHN file: every pixel of image i is i+1 but for the top right one in green, 200; y as given.
func mat(images int, y any, labels int) []byte {
	x := make([]byte, 0, images*3072)
	for i := range images {
		x = append(x, bytes.Repeat([]byte{byte(i + 1)}, 3072)...)
		x[i*3072+1024+31*32] = 200
	}
	return matfiletest.File(binary.LittleEndian, matfiletest.Array{Name: "X", Dims: []int{32, 32, 3, images}, Values: x, Compress: true},
		matfiletest.Array{Name: "y", Dims: []int{labels, 1}, Values: y, Compress: true})
}

func TestCIFARFilesAndLimits(t *testing.T) {
	dir := t.TempDir()
	var all []byte
	for b := range 5 {
		file := records(uint64(b), false, byte(b), byte(b+5), byte(9-b))
		write(t, dir, fmt.Sprintf("cifar-10-batches-bin/data_batch_%d.bin", b+1), file)
		all = append(all, file...)
	}
	for _, limit := range []int{0, 1, 3, 4, 15, 16} {
		s, err := Open("cifar10", dir, Options{TrainLimit: limit, SkipTest: true})
		if err != nil {
			t.Fatal(err)
		}
		want := 15
		if limit > 0 {
			want = min(limit, 15)
		}
		if s.Train.N() != want || len(s.Train.Pixels) != 3072*want || s.Official {
			t.Errorf("limit %d: %d images, %d bytes, official %t", limit, s.Train.N(), len(s.Train.Pixels), s.Official)
		}
		for i := range s.Train.N() {
			record := all[i*3073 : (i+1)*3073]
			if int32(record[0]) != s.Train.Labels[i] || !bytes.Equal(record[1:], s.Train.Pixels[i*3072:(i+1)*3072]) {
				t.Fatalf("limit %d: image %d is not the file's", limit, i)
			}
		}
		if asked := strings.Contains(strings.Join(s.Warnings, "\n"), "16 training images were asked for and there are 15"); asked != (limit == 16) {
			t.Errorf("limit %d: warnings %q", limit, s.Warnings)
		}
		if limit == 4 && (len(s.Warnings) != 2 || !strings.Contains(s.Warnings[1], "data_batch_2.bin holds 3 images where the official file holds 10000")) {
			t.Errorf("limit 4 reads two unofficial files: warnings %q", s.Warnings)
		}
	}
	// A limit needs no file beyond it.
	if err := os.Remove(filepath.Join(dir, "cifar-10-batches-bin/data_batch_3.bin")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("cifar10", dir, Options{TrainLimit: 6, SkipTest: true}); err != nil {
		t.Errorf("6 images of the first two files: %v", err)
	}
	if _, err := Open("cifar10", dir, Options{TrainLimit: 7, SkipTest: true}); !errors.Is(err, ErrMissing) {
		t.Errorf("the third file is needed and not there: %v", err)
	}
}

func TestCIFAR100TakesFineLabelsAndAPart(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cifar-100-binary/train_first20000.bin", records(1, true, 99, 0, 42))
	write(t, dir, "cifar-100-binary/test.bin", records(2, true, 7))
	s, err := Open("cifar100", dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{99, 0, 42}; !slices.Equal(s.Train.Labels, want) || s.Test.Labels[0] != 7 {
		t.Errorf("labels %d and %d", s.Train.Labels, s.Test.Labels)
	}
	if len(s.Warnings) != 2 || !strings.Contains(s.Warnings[0], "train_first20000.bin stands in for train.bin, with 3 of its 50000 images") {
		t.Errorf("warnings %q", s.Warnings)
	}
	write(t, dir, "cifar-100-binary/train.bin", records(3, true, 55))
	if s, err = Open("cifar100", dir, Options{SkipTest: true}); err != nil || s.Train.N() != 1 || s.Train.Labels[0] != 55 {
		t.Errorf("train.bin is there and the part was taken: %v", err)
	}
}

func TestClassNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cifar-10-batches-bin/test_batch.bin", records(1, false, 1))
	names := func() []string {
		s, err := Open("cifar10", dir, Options{SkipTrain: true})
		if err != nil {
			t.Fatal(err)
		}
		return s.ClassNames
	}
	numbers := strings.Fields("0 1 2 3 4 5 6 7 8 9")
	if got := names(); !slices.Equal(got, numbers) {
		t.Errorf("without the file: %q", got)
	}
	write(t, dir, "cifar-10-batches-bin/batches.meta.txt", []byte("airplane\nautomobile\n"))
	if got := names(); !slices.Equal(got, numbers) {
		t.Errorf("with two names: %q", got)
	}
	write(t, dir, "cifar-10-batches-bin/batches.meta.txt", []byte("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n"))
	if got := names(); strings.Join(got, "") != "abcdefghij" {
		t.Errorf("with ten names: %q", got)
	}
}

func TestSVHN(t *testing.T) {
	for name, y := range map[string]any{"uint8": []uint8{10, 1, 9}, "double": []float64{10, 1, 9}} {
		for limit := range 4 {
			dir := t.TempDir()
			write(t, dir, "svhn/train_32x32.mat", mat(3, y, 3))
			s, err := Open("svhn", dir, Options{TrainLimit: limit, SkipTest: true})
			if err != nil {
				t.Fatal(err)
			}
			n := limit
			if limit == 0 {
				n = 3
			}
			if want := []int32{0, 1, 9}[:n]; !slices.Equal(s.Train.Labels, want) {
				t.Errorf("%s, limit %d: labels %d, want %d", name, limit, s.Train.Labels, want)
			}
			for i := range s.Train.Pixels {
				want := byte(i/3072 + 1)
				if i%3072 == 1024+31 { // green, row 0, column 31
					want = 200
				}
				if s.Train.Pixels[i] != want {
					t.Fatalf("%s, limit %d: pixel %d is %d, want %d", name, limit, i, s.Train.Pixels[i], want)
				}
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	good := records(1, false, 3, 4)
	bad := records(1, false, 1, 2, 10)
	m := mat(2, []byte{1, 2}, 2)
	array := func(a ...matfiletest.Array) []byte { return matfiletest.File(binary.LittleEndian, a...) }
	x := matfiletest.Array{Name: "X", Dims: []int{32, 32, 3}, Values: make([]byte, 3072)}
	y := matfiletest.Array{Name: "y", Dims: []int{1, 1}, Values: []byte{1}}
	for _, c := range []struct {
		set, file string
		content   []byte // nil: missing
		is        error
		want      []string
	}{
		{"cifar10", "cifar-10-batches-bin/test_batch.bin", nil, ErrMissing, []string{"of the official cifar-10-binary.tar.gz", "`dither data get cifar10 --data DIR`"}},
		{"cifar100", "cifar-100-binary/test.bin", nil, ErrMissing, []string{"cifar-100-binary.tar.gz", "data get cifar100"}},
		{"svhn", "svhn/test_32x32.mat", nil, ErrMissing, []string{"official test_32x32.mat", "data get svhn"}},
		{"cifar10", "cifar-10-batches-bin/test_batch.bin", good[:6000], ErrFormat, []string{"6000 bytes", "records of 3073", "data get"}},
		{"cifar10", "cifar-10-batches-bin/test_batch.bin", []byte{}, ErrFormat, []string{"is empty"}},
		{"cifar10", "cifar-10-batches-bin/test_batch.bin", bad, ErrFormat, []string{"record 2 (from 0) has label 10, not one of 0..9"}},
		{"cifar100", "cifar-100-binary/test.bin", records(1, true, 5, 100), ErrFormat, []string{"record 1 (from 0) has label"}},
		{"svhn", "svhn/test_32x32.mat", m[:len(m)-3], ErrFormat, []string{"ends inside", "data get svhn"}},
		{"svhn", "svhn/test_32x32.mat", []byte("<html>404</html>"), ErrFormat, []string{"ends inside the header"}},
		{"svhn", "svhn/test_32x32.mat", mat(2, []byte{1, 2, 3}, 3), ErrFormat, []string{"X holds 2 images and y 3 labels"}},
		{"svhn", "svhn/test_32x32.mat", mat(2, []byte{1, 11}, 2), ErrFormat, []string{"record 1 (from 0) has label 11"}},
		{"svhn", "svhn/test_32x32.mat", mat(2, []byte{0, 1}, 2), ErrFormat, []string{"record 0 (from 0) has label 0"}},
		{"svhn", "svhn/test_32x32.mat", mat(0, []byte{}, 0), ErrFormat, []string{"X holds 0 images"}},
		{"svhn", "svhn/test_32x32.mat", array(x), ErrFormat, []string{"variable y, the labels, is missing"}},
		{"svhn", "svhn/test_32x32.mat", array(y), ErrFormat, []string{"variable X, the pixels, is missing"}},
		{"svhn", "svhn/test_32x32.mat", array(x, y, y), ErrFormat, []string{"y stands there twice"}},
		{"svhn", "svhn/test_32x32.mat", array(matfiletest.Array{Name: "X", Dims: []int{3, 32, 32, 1}, Values: make([]byte, 3072)}, y), ErrFormat, []string{"X is of size [3 32 32 1]"}},
	} {
		dir := t.TempDir()
		if c.content != nil {
			write(t, dir, c.file, c.content)
		}
		_, err := Open(c.set, dir, Options{SkipTrain: true})
		if !errors.Is(err, c.is) {
			t.Errorf("%s of %d bytes: %v, want %v", c.file, len(c.content), err, c.is)
			continue
		}
		for _, want := range append(c.want, filepath.Join(dir, c.file)) {
			if want = strings.ReplaceAll(want, "DIR", dir); !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), ErrFormat.Error()) > 1 {
			t.Errorf("not one sentence: %q", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open("mnist", "", Options{}); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "digits, cifar10, cifar100, svhn") {
		t.Errorf("unknown set: %v", err)
	}
	if _, err := Open("digits", "", Options{TestLimit: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "cifar-10-batches-bin/test_batch.bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("cifar10", dir, Options{SkipTrain: true}); !errors.Is(err, ErrFormat) {
		t.Errorf("a folder in place of a file: %v", err)
	}
}

// Reading takes the memory of the pixels, once; a file that claims more images than it holds gets little for them.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	const n, over = 3000, 1 << 18
	write(t, dir, "cifar-10-batches-bin/test_batch.bin", records(1, false, make([]byte, n)...))
	noise := make([]byte, n*3072) // does not compress, as pictures hardly do
	rand.NewChaCha8([32]byte{}).Read(noise)
	x := matfiletest.Array{Name: "X", Dims: []int{32, 32, 3, n}, Values: noise, Compress: true}
	y := matfiletest.Array{Name: "y", Dims: []int{n, 1}, Values: bytes.Repeat([]byte{10}, n)}
	write(t, dir, "svhn/train_32x32.mat", matfiletest.File(binary.LittleEndian, x, y))
	// One image, and then its file patched to claim 2^20 of them, in the dimensions and in the bytes of the values.
	x = matfiletest.Array{Name: "X", Dims: []int{32, 32, 3, 1}, Values: make([]byte, 3072)}
	claim := matfiletest.File(binary.LittleEndian, x, y)
	binary.LittleEndian.PutUint32(claim[172:], 1<<20)
	binary.LittleEndian.PutUint32(claim[188:], 3072<<20)
	write(t, dir, "svhn/test_32x32.mat", claim)
	for _, c := range []struct {
		name string
		o    Options
		ok   bool
		max  uint64
	}{
		{"cifar10", Options{SkipTrain: true}, true, n*(3072+4) + over},
		{"cifar10", Options{SkipTrain: true, TestLimit: 10}, true, 10*(3072+4) + over},
		{"svhn", Options{SkipTest: true}, true, n*(3072+4+3) + over},
		{"svhn", Options{SkipTrain: true}, false, over},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Open(c.name, dir, c.o)
		runtime.ReadMemStats(&after)
		if (err == nil) != c.ok {
			t.Fatalf("%s %+v: %v", c.name, c.o, err)
		}
		if err != nil && !strings.Contains(err.Error(), "ends inside the values") {
			t.Errorf("the claim fails for another reason: %v", err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > c.max {
			t.Errorf("%s %+v: %d bytes allocated, want at most %d", c.name, c.o, got, c.max)
		}
	}
}

// FuzzSVHN: no file may panic, and what is accepted is consistent.
func FuzzSVHN(f *testing.F) {
	f.Add(mat(1, []byte{10}, 1))
	f.Add(mat(2, []float64{1, 2}, 2))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		write(t, dir, "svhn/test_32x32.mat", content)
		s, err := Open("svhn", dir, Options{SkipTrain: true})
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if s.Test.N() == 0 || len(s.Test.Pixels) != s.Test.N()*3072 || slices.Min(s.Test.Labels) < 0 || slices.Max(s.Test.Labels) > 9 {
			t.Fatalf("%d images, %d bytes, labels %d", s.Test.N(), len(s.Test.Pixels), s.Test.Labels)
		}
	})
}
