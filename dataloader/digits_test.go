package dataloader

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
)

func TestDigits(t *testing.T) {
	s, err := Open("digits", "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Train.N() != 1437 || s.Test.N() != 360 || !s.Official || s.Flip || len(s.Warnings) != 0 {
		t.Errorf("%d and %d images, official %t, flip %t, warnings %q", s.Train.N(), s.Test.N(), s.Official, s.Flip, s.Warnings)
	}
	// From exact fractions, by a program of its own in Python.
	for _, c := range []struct {
		im    Images
		label int32
		sum   string
	}{{s.Train, 0, "ccf2f2616892761c1531151a53b879cd77c2831d94b54a612790acb8ce98cba5"}, {s.Test, 2, "409d340dd09cc013dd387b830bbc3d10e9cfe4e03a87782e5b25cb0c18612a24"}} {
		if got := sha(c.im.Pixels[:3072]); c.im.Labels[0] != c.label || got != c.sum {
			t.Errorf("first image: label %d, pixels %s, want %d, %s", c.im.Labels[0], got, c.label, c.sum)
		}
	}
	for _, im := range []Images{s.Train, s.Test} {
		if len(im.Pixels) != 3072*im.N() || slices.Max(im.Pixels) != 255 || slices.Min(im.Pixels) != 0 {
			t.Errorf("%d bytes for %d images, or not all of 0..255 in use", len(im.Pixels), im.N())
		}
		var classes [10]int
		for _, l := range im.Labels {
			classes[l]++
		}
		if share := float64(slices.Min(classes[:])) / float64(im.N()); share < 0.09 {
			t.Errorf("classes have %v images: out of balance", classes)
		}
	}
}

func TestImagesHash(t *testing.T) {
	s, err := Open("digits", "", Options{TrainLimit: 10, SkipTest: true})
	if err != nil {
		t.Fatal(err)
	}
	// As documented, computed in Python.
	if got, want := s.Train.Hash(), "fa500ceba593cbdf0089bb6d4ac33026f9fd518215b879445d2c633a6f261c70"; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	before := s.Train.Hash()
	for what, change := range map[string]func(*Images){
		"a pixel": func(im *Images) { im.Pixels[0] ^= 1 }, "a label": func(im *Images) { im.Labels[9] ^= 1 },
		"the shape": func(im *Images) { im.Height, im.Width = 16, 64 }, "the classes": func(im *Images) { im.Classes++ },
	} {
		im := s.Train
		im.Pixels, im.Labels = slices.Clone(im.Pixels), slices.Clone(im.Labels)
		if change(&im); im.Hash() == before {
			t.Errorf("%s may change and the hash stays", what)
		}
	}
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
