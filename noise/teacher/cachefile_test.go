package teacher

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// filed is the configuration of a service whose cache is in a file.
func filed(t testing.TB) Config {
	c := config(t)
	c.Cache = filepath.Join(t.TempDir(), "cache")
	return c
}

func statusOf(t *testing.T, s *Service) *ditherv1.TeacherStatusResponse {
	t.Helper()
	r, err := s.TeacherStatus(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Services of several runs share a file, at once and one after another, and answer as one without it: where the noise is another too.
func TestCacheFileIsShared(t *testing.T) {
	for _, view := range []string{"augmented", "original"} {
		t.Run(view, func(t *testing.T) {
			c := filed(t)
			c.Run.Spec.Teacher.View = view
			alone := c
			alone.Cache = ""
			ids := everyone(80)
			want := map[uint32][]float32{}
			s := opened(t, alone)
			for k := range uint32(4) {
				want[10*k+1] = ask(t, s, min(10*k+1, 30), ids...)
			}
			var side sync.WaitGroup
			for range 3 {
				s := opened(t, c)
				side.Go(func() {
					for k, w := range want {
						sameLabels(t, "side by side", ask(t, s, min(k, 30), ids...), w)
					}
				})
			}
			side.Wait()
			later := c
			later.Run = proto.CloneOf(c.Run)
			later.Run.Run = "later"
			s = opened(t, later)
			for k, w := range want {
				sameLabels(t, "later", ask(t, s, min(k, 30), ids...), w)
			}
			if r := statusOf(t, s); r.GetCacheHits() != 4*80 || r.GetCacheMisses() != 0 || r.GetCacheEntries() == 0 || r.GetCacheCapacity() != 80*s.views.count() {
				t.Errorf("a service that found everything says %v", r)
			}
			later.Run.Spec.Noise = &ditherv1.NoiseSpec{Kind: "none", Refresh: "iteration"}
			later.Run.Spec.Batch, later.Run.Spec.Iterations = 16, 10
			alone.Run = later.Run
			sameLabels(t, "without noise", ask(t, opened(t, later), 1, ids...), ask(t, opened(t, alone), 1, ids...))
		})
	}
}

// Whatever becomes of a file's bytes under the services that have it, their labels are right.
func TestCacheFileIsDamaged(t *testing.T) {
	c := filed(t)
	ids := everyone(80)
	s := opened(t, c)
	want := ask(t, s, 1, ids...)
	whole, err := os.ReadFile(c.Cache)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	written := s.cache.(*cacheFile)
	row := func() []byte { // one that was written
		for {
			if at := written.at(r.Uint64N(written.rows)); whole[at+int64(len(written.row))-1] != 0 {
				return whole[at:][:len(written.row)]
			}
		}
	}
	for what, damage := range map[string]func(b []byte) []byte{
		"flipped bits": func(b []byte) []byte {
			for range 5000 {
				b[cacheHeaderBytes+r.IntN(len(b)-cacheHeaderBytes)] ^= 1 << r.IntN(8)
			}
			return b
		},
		"random bytes": func(b []byte) []byte {
			for i := cacheHeaderBytes; i < len(b); i++ {
				b[i] = byte(r.Uint32())
			}
			return b
		},
		"ones": func(b []byte) []byte {
			return append(b[:cacheHeaderBytes], bytes.Repeat([]byte{0xff}, len(b)-cacheHeaderBytes)...)
		},
		"zeros":        func(b []byte) []byte { return append(b[:cacheHeaderBytes], make([]byte, len(b)-cacheHeaderBytes)...) },
		"lost pages":   func(b []byte) []byte { clear(b[5000:20000]); return b },
		"cut":          func(b []byte) []byte { return b[:cacheHeaderBytes+1001] },
		"nothing left": func(b []byte) []byte { return b[:0] },
		"a row of another view": func(b []byte) []byte {
			for at := cacheHeaderBytes; at < len(b); at += len(written.row) {
				copy(b[at:], row())
			}
			return b
		},
	} {
		// In place: the service has it open.
		damaged := damage(slices.Clone(whole))
		if err := errors.Join(os.Truncate(c.Cache, int64(len(damaged))), overwrite(c.Cache, damaged)); err != nil {
			t.Fatal(err)
		}
		sameLabels(t, what, ask(t, s, 1, ids...), want)
		sameLabels(t, what+", healed", ask(t, s, 1, ids...), want)
		if what == "nothing left" {
			continue // there is no header for the next one
		}
		sameLabels(t, what+", opened later", ask(t, opened(t, c), 1, ids...), want)
	}
}

func overwrite(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// Where the disk takes no more, what is there is found, and the rest is kept in memory.
func TestCacheFileOnAFullDisk(t *testing.T) {
	c := filed(t)
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ids := everyone(80)
	plain := c
	plain.Cache = ""
	reference := opened(t, plain)
	s := opened(t, c)
	f := s.cache.(*cacheFile)
	room := 30
	f.write = func(b []byte, at int64) (int, error) {
		if room--; room < 0 {
			n, _ := f.f.WriteAt(b[:7], at)
			return n, &os.PathError{Op: "write", Path: c.Cache, Err: syscall.ENOSPC}
		}
		return f.f.WriteAt(b, at)
	}
	for range 2 {
		sameLabels(t, "on a full disk", ask(t, s, 1, ids...), ask(t, reference, 1, ids...))
	}
	if r := statusOf(t, s); r.GetCacheHits() != 80 || r.GetCacheMisses() != 80 || r.GetCacheEntries() != 80 {
		t.Errorf("30 soft labels in the file and 50 in memory are %v", r)
	}
	if n := strings.Count(log.String(), "no space left on device"); n != 1 {
		t.Errorf("it is said %d times: %s", n, log.String())
	}
	other := opened(t, c)
	sameLabels(t, "another, with more room", ask(t, other, 1, ids...), ask(t, reference, 1, ids...))
	if r := statusOf(t, other); r.GetCacheHits() != 30 || r.GetCacheMisses() != 50 {
		t.Errorf("another finds %v", r)
	}
}

// A file that could become too large is not begun, and the run goes on without.
func TestCacheFileIsBounded(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "cache")
	for _, c := range []struct {
		rows    uint64
		classes int
		fits    bool
	}{
		{50_000 * 162, 10, true},
		{50_000 * 162, 100, true},
		{1_281_167 * 162, 1000, false},
		{1 << 62, 1 << 30, false},
	} {
		f, err := openCacheFile(path, make([]byte, cacheHeaderBytes), c.classes, c.rows, nil, slog.New(slog.NewTextHandler(&log, nil)))
		if (err == nil) != c.fits || err != nil && !errors.Is(err, errNoRoom) {
			t.Errorf("%+v: the error is %v", c, err)
		}
		if err == nil {
			info, err := os.Stat(path)
			if err != nil || info.Size() != cacheHeaderBytes+int64(c.rows)*int64(4*c.classes+4) {
				t.Errorf("%+v: %d bytes, %v", c, info.Size(), err)
			}
			if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<16 {
				t.Errorf("%+v: an empty file takes %d bytes of the disk", c, used)
			}
			f.close()
			os.Remove(path)
		}
	}
	c := filed(t)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c.Run.Spec.Dataset.Name = strings.Repeat("x", cacheHeaderBytes)
	s := opened(t, c)
	ask(t, s, 1, 3)
	if _, ours := s.cache.(*cache); !ours || !strings.Contains(log.String(), "cached in memory, not in a file") {
		t.Errorf("without room for a file the cache is a %T; it says: %s", s.cache, log.String())
	}
	if err := CheckCacheFile(c.Cache, c.Run.Spec, c.Data); err != nil {
		t.Errorf("a run that does without is refused: %v", err)
	}
}

// Of those that make a file at once one does, and all have it.
func TestCacheFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	header := append([]byte("x"), make([]byte, cacheHeaderBytes-1)...)
	all := make([]*cacheFile, 20)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			var err error
			if all[i], err = openCacheFile(path, header, 2, 100, nil, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, c := range all {
		c.put(uint64(i), []float32{float32(i), -1})
	}
	row := make([]float32, 2)
	for i, c := range all {
		if !c.get(uint64((i+7)%20), row) || row[0] != float32((i+7)%20) {
			t.Errorf("%d finds %v", i, row)
		}
		c.close()
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// The layout is stable: a file that another process has begun means the same here.
func TestCacheFileLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	header := append([]byte("x"), make([]byte, cacheHeaderBytes-1)...)
	c, err := openCacheFile(path, header, 2, 10, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.put(3, []float32{1, -2})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	row := b[cacheHeaderBytes+3*12:][:12]
	if len(b) != cacheHeaderBytes+10*12 || math.Float32frombits(binary.LittleEndian.Uint32(row)) != 1 || math.Float32frombits(binary.LittleEndian.Uint32(row[4:])) != -2 {
		t.Errorf("%d bytes, the row is %x", len(b), row)
	}
	if got := binary.LittleEndian.Uint32(row[8:]); got != 0x44ee66a8 { // by another's CRC-32C
		t.Errorf("the checksum is %#x", got)
	}
}

// FuzzCacheFile: whatever lies in a row, what is read is what was put, or nothing.
func FuzzCacheFile(f *testing.F) {
	f.Add(uint16(0), []byte{0})
	f.Add(uint16(8), []byte{1, 2, 3, 4})
	f.Add(uint16(36), make([]byte, 12))
	f.Fuzz(func(t *testing.T, at uint16, b []byte) {
		path := filepath.Join(t.TempDir(), "cache")
		c, err := openCacheFile(path, append([]byte("x"), make([]byte, cacheHeaderBytes-1)...), 2, 8, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		put := func(key uint64) []float32 { return []float32{float32(key) + 0.25, -3} }
		for key := range uint64(4) {
			c.put(key, put(key))
		}
		if _, err := c.f.WriteAt(b, cacheHeaderBytes+int64(at)%96); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 2)
		for key := range uint64(8) {
			if c.get(key, got) && (key >= 4 || !slices.Equal(got, put(key))) {
				t.Errorf("key %d holds %v", key, got)
			}
		}
	})
}
