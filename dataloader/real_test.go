package dataloader

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// realData is a data folder with the real file rel in it: DITHER_DATA, or else a new one filled from the shared folder beside the checkout.
func realData(t *testing.T, rel string) string {
	t.Helper()
	if dir := os.Getenv("DITHER_DATA"); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, rel)); err != nil {
			t.Skipf("DITHER_DATA=%s has no %s", dir, rel)
		}
		return dir
	}
	shared := os.Getenv("DITHER_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "shared")
	}
	from, err := filepath.Abs(filepath.Join(shared, "data", rel))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to := filepath.Join(dir, rel)
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(from); err == nil {
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if _, err := os.Stat(from + ".xz"); err != nil {
		t.Skipf("no real data: set DITHER_DATA to a folder with %s, or DITHER_SHARED to one with data/%s.xz", rel, rel)
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("xz", "-dc", from+".xz")
	cmd.Stdout = f
	if err := cmd.Run(); err != nil {
		t.Skipf("%s.xz cannot be unpacked: %v", from, err)
	}
	return dir
}

func TestRealCIFAR10(t *testing.T) {
	s, err := Open("cifar10", realData(t, "cifar-10-batches-bin/test_batch.bin"), Options{SkipTrain: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Test.N() != 10000 || len(s.Test.Pixels) != 10000*3072 || !s.Flip {
		t.Errorf("%d images, %d bytes, flip %t", s.Test.N(), len(s.Test.Pixels), s.Flip)
	}
	if want := []int32{3, 8, 8, 0, 6, 6, 1, 6, 3, 1}; !slices.Equal(s.Test.Labels[:10], want) {
		t.Errorf("labels %d, want %d", s.Test.Labels[:10], want)
	}
	if want := []byte{0x9e, 0x9f, 0xa5, 0xa6, 0xa0, 0x9c, 0xa2, 0x9f}; !slices.Equal(s.Test.Pixels[:8], want) {
		t.Errorf("pixels begin with %x, want %x", s.Test.Pixels[:8], want)
	}
	for class, n := range count(s.Test) {
		if n != 1000 {
			t.Errorf("class %d has %d images, want 1000", class, n)
		}
	}
}

// The test file is known to be exact, so this also holds the published checksum against a real file.
func TestRealCIFAR100(t *testing.T) {
	s, err := Open("cifar100", realData(t, "cifar-100-binary/test.bin"), Options{SkipTrain: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Test.N() != 10000 || !s.Official || len(s.Warnings) != 0 {
		t.Errorf("%d images, official %t, warnings %q", s.Test.N(), s.Official, s.Warnings)
	}
	if want := []int32{49, 33, 72, 51, 71, 92, 15, 14, 23, 0}; !slices.Equal(s.Test.Labels[:10], want) {
		t.Errorf("labels %d, want %d", s.Test.Labels[:10], want)
	}
	for class, n := range count(s.Test) {
		if n != 100 {
			t.Errorf("class %d has %d images, want 100", class, n)
		}
	}
}

// The part of SVHN that is to be had here; the sums are of images decoded by a program of its own in Python.
func TestRealSVHN(t *testing.T) {
	for _, c := range []struct {
		file        string
		images      int
		labels      []int32
		first, last string
	}{
		{"train_32x32.mat", 9082, []int32{1, 9, 2, 3, 2, 5, 9, 3, 3, 1}, "60ae257c0cae893e05de5c1f84c20a577d8151dd783fd646832c7e4ded3bbfbb", "2bb09029262e5126fa2ffe1b0a97612d88ad1039bf8a202a4b92793732ada76b"},
		{"test_32x32.mat", 2001, []int32{4, 0, 6, 3, 1, 1, 7, 1, 1, 2}, "2bd505f0919b811b531c8a8a2974b8fecca458d8f788b8f9cacecc14faa592ee", "baa3d759f44351fb865ccf1c787533ddd62fb565e4701dfdc6d5f5da9c283b97"},
	} {
		t.Run(c.file, func(t *testing.T) {
			dir, test := realData(t, "svhn/"+c.file), c.file == "test_32x32.mat"
			s, err := Open("svhn", dir, Options{SkipTrain: test, SkipTest: !test})
			if err != nil {
				t.Fatal(err)
			}
			im := s.Train
			if test {
				im = s.Test
			}
			if im.N() == 73257 || im.N() == 26032 {
				t.Skip("these are the official files, not the part whose images are known here")
			}
			if im.N() != c.images || s.Official || len(s.Warnings) != 1 || s.Flip {
				t.Fatalf("%d images, official %t, warnings %q, flip %t", im.N(), s.Official, s.Warnings, s.Flip)
			}
			if !slices.Equal(im.Labels[:10], c.labels) {
				t.Errorf("labels %d, want %d", im.Labels[:10], c.labels)
			}
			if first, last := sha(im.Pixels[:3072]), sha(im.Pixels[len(im.Pixels)-3072:]); first != c.first || last != c.last {
				t.Errorf("first and last image %s, %s, want %s, %s", first, last, c.first, c.last)
			}
		})
	}
}

func count(im Images) []int {
	n := make([]int, im.Classes)
	for _, l := range im.Labels {
		n[l]++
	}
	return n
}
