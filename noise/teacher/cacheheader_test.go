package teacher

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/dataloader"
)

// Each view of each image has a place of its own, and the last of them is the last there is.
func TestViewsAreNumberedWithoutAGap(t *testing.T) {
	for _, v := range []views{{false, false}, {false, true}, {true, false}, {true, true}} {
		seen := map[uint64]bool{}
		for sample := range uint32(3) {
			g := dataloader.Geometry{DY: pad, DX: pad}
			if !v.augmented {
				seen[v.key(sample, g)] = true
				continue
			}
			for g.DY = range int32(offsets) {
				for g.DX = range int32(offsets) {
					for g.Flip = range int32(2) {
						if g.Flip == 0 || v.flip {
							seen[v.key(sample, g)] = true
						}
					}
				}
			}
		}
		for key := range 3 * v.count() {
			if !seen[key] {
				t.Errorf("%+v: no view is number %d", v, key)
			}
		}
		if uint64(len(seen)) != 3*v.count() {
			t.Errorf("%+v: %d numbers for %d views", v, len(seen), 3*v.count())
		}
	}
}

func TestCacheFileOfAnotherRunIsRefused(t *testing.T) {
	c := filed(t)
	opened(t, c)
	for says, change := range map[string]func(*Config){
		`teacher "`: func(c *Config) {
			c.File, c.Run.Spec.Teacher.Sha256 = teacherFile(t, c.Data, func(v []float32) { v[0] = 7 })
		},
		`mean "0.4 0.4 0.4", and this run has "0.4 0.3 0.4"`: func(c *Config) { c.Run.Spec.Dataset.Mean[1] = 0.3 },
		`std "0.3 0.3 0.3"`: func(c *Config) { c.Run.Spec.Dataset.Std[2] = 0.25 },
		`views "81, crops with 4 pixels of padding", and this run has "1, the original"`: func(c *Config) { c.Run.Spec.Augment = "none" },
		`images "80 of digits, `: func(c *Config) {
			d := *c.Data
			d.Train.Labels = slices.Clone(d.Train.Labels)
			d.Train.Labels[3]++
			c.Data, c.Run.Spec.Dataset.TrainSha256 = &d, d.Train.Hash()
		},
		"nothing to keep": func(c *Config) { c.Run.Spec.Teacher.Model = nil },
	} {
		other := c
		other.Run = proto.CloneOf(c.Run)
		change(&other)
		if err := CheckCacheFile(other.Cache, other.Run.Spec, other.Data); !errors.Is(err, ErrCacheFile) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: before a run begins the error is %v", says, err)
		}
		if says == "nothing to keep" {
			continue
		}
		if _, err := open(t, other); !errors.Is(err, ErrCacheFile) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: the error is %v", says, err)
		}
	}
	header, err := os.ReadFile(c.Cache)
	if err != nil {
		t.Fatal(err)
	}
	for says, make := range map[string]func(path string) error{
		"no such file":     func(path string) error { return os.Remove(filepath.Dir(path)) },
		"is a directory":   func(path string) error { return os.Mkdir(path, 0o755) },
		"has 0 bytes and":  func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"has 100 bytes":    func(path string) error { return os.WriteFile(path, header[:100], 0o644) },
		"begins with \"PK": func(path string) error { return os.WriteFile(path, append([]byte("PK"), header[2:]...), 0o644) },
		"begins with \"dither teacher cache 1": func(path string) error {
			return os.WriteFile(path, append([]byte(cacheTitle+"teecher"), header[len(cacheTitle)+7:]...), 0o644)
		},
		`made for classes "11", and this run has "10"`: func(path string) error {
			return os.WriteFile(path, bytes.Replace(header, []byte("classes: 10"), []byte("classes: 11"), 1), 0o644)
		},
	} {
		bad := c
		bad.Cache = filepath.Join(t.TempDir(), "folder", "cache")
		if err := errors.Join(os.Mkdir(filepath.Dir(bad.Cache), 0o755), make(bad.Cache)); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, bad); !errors.Is(err, ErrCacheFile) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: the error is %v", says, err)
		}
		if err := CheckCacheFile(bad.Cache, bad.Run.Spec, bad.Data); !errors.Is(err, ErrCacheFile) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: before a run begins the error is %v", says, err)
		}
	}
	if err := CheckCacheFile(c.Cache, c.Run.Spec, c.Data); err != nil {
		t.Errorf("the run's own file is refused: %v", err)
	}
	if err := CheckCacheFile(c.Cache+"-new", c.Run.Spec, c.Data); err != nil {
		t.Errorf("a file that is not there yet is refused: %v", err)
	}
}
