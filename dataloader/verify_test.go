package dataloader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerify(t *testing.T) {
	l, dir := small(nil), t.TempDir()
	verify := func(f file) FileReport {
		t.Helper()
		r, err := l.verify(dir, f)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(l.test[0]); r.Present || r.Official || !strings.Contains(r.Problem, "missing: part of the official small.tar.gz") {
		t.Errorf("missing: %+v", r)
	}
	write(t, dir, "small/test.bin", smallTest)
	if r := verify(l.test[0]); !r.Present || !r.Official || r.Problem != "" || r.Records != 1 || r.Bytes != 3073 || r.Checksum != l.test[0].checksum || len(r.MD5) != 32 {
		t.Errorf("official: %+v", r)
	}
	write(t, dir, "small/test.bin", records(9, false, 1))
	if r := verify(l.test[0]); r.Official || r.Records != 1 || !strings.Contains(r.Problem, "not the official file") {
		t.Errorf("other pixels: %+v", r)
	}
	write(t, dir, "small/test.bin", records(9, false, 1, 1))
	if r := verify(l.test[0]); r.Official || r.Records != 2 || !strings.Contains(r.Problem, "holds 2 images where the official file holds 1") {
		t.Errorf("other count: %+v", r)
	}
	write(t, dir, "small/test.bin", records(9, false, 11))
	if r := verify(l.test[0]); r.Official || r.Records != 0 || !strings.Contains(r.Problem, "label 11") || r.Checksum == "" {
		t.Errorf("unsound: %+v", r)
	}
}

func TestVerifyByName(t *testing.T) {
	if _, err := Verify("mnist", ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown set: %v", err)
	}
	for set, files := range map[string]int{"digits": 0, "cifar10": 6, "cifar100": 2, "svhn": 2} {
		if r, err := Verify(set, t.TempDir()); err != nil || len(r) != files {
			t.Errorf("%s: %d files (%v), want %d", set, len(r), err, files)
		}
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cifar-100-binary/train_first20000.bin", []byte("12345"))
	write(t, dir, "cifar-100-binary/test.bin", []byte("123"))
	write(t, dir, "svhn/test_32x32.mat", []byte("1"))
	reports, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]SetReport{}
	for _, r := range reports {
		got[r.Set] = r
	}
	for set, want := range map[string]struct {
		complete       bool
		files, missing int
		bytes          int64
		train, test    int
	}{"digits": {true, 0, 0, 0, 1437, 360}, "cifar10": {false, 0, 6, 0, 50000, 10000}, "cifar100": {true, 2, 0, 8, 50000, 10000}, "svhn": {false, 1, 1, 1, 73257, 26032}} {
		r := got[set]
		if r.Complete != want.complete || len(r.Files) != want.files || len(r.Missing) != want.missing || r.Bytes != want.bytes ||
			r.TrainImages != want.train || r.TestImages != want.test || r.Embedded != (set == "digits") {
			t.Errorf("%s: %+v, want %+v", set, r, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d sets", len(got))
	}
	if want := filepath.Join(dir, "svhn", "train_32x32.mat"); got["svhn"].Missing[0] != want {
		t.Errorf("missing %q, want %q", got["svhn"].Missing, want)
	}
}

// The table of official files is consistent with itself.
func TestLayouts(t *testing.T) {
	for _, l := range layouts {
		archives := map[string]bool{}
		for _, a := range l.archives {
			archives[a.File] = true
			if a.Set != l.name || len(a.MD5) != 32 || !strings.HasSuffix(a.URL, "/"+a.File) {
				t.Errorf("archive %+v of %s", a, l.name)
			}
		}
		for _, f := range l.files() {
			if !archives[f.archive] || f.images == 0 || (f.algorithm() == "sha1") != (len(f.checksum) == len("sha1:")+40) {
				t.Errorf("file %+v of %s", f, l.name)
			}
		}
	}
	if n := len(Archives()); n != 4 {
		t.Errorf("%d archives", n)
	}
}

// Verify on the whole real data, where they are laid out.
func TestVerifyReal(t *testing.T) {
	dir := os.Getenv("DITHER_DATA")
	if dir == "" {
		t.Skip("DITHER_DATA names no folder with real data")
	}
	for _, set := range Names() {
		reports, err := Verify(set, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if r.Present && r.Records == 0 {
				t.Errorf("%+v", r)
			}
		}
	}
}
