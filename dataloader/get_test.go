package dataloader

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// entry is a file of a test's archive; a link where link is set.
type entry struct {
	name, link string
	content    []byte
}

func targz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		} else if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var smallTrain, smallTest = records(1, false, 1, 2, 3), records(2, false, 4)

// small is a data set in CIFAR-10's format whose official archive is content.
func small(content []byte) *layout {
	sum := md5.Sum(content)
	sha := func(b []byte) string { s := sha1.Sum(b); return "sha1:" + hex.EncodeToString(s[:]) }
	return &layout{name: "small", shape: shape(10), folder: "small", decode: cifarDecoder(10), record: 3073,
		train:    []file{{name: "train.bin", images: 3, checksum: sha(smallTrain), archive: "small.tar.gz"}},
		test:     []file{{name: "test.bin", images: 1, checksum: sha(smallTest), archive: "small.tar.gz"}},
		archives: []Archive{{"small", "small.tar.gz", "http://nowhere.invalid/small.tar.gz", hex.EncodeToString(sum[:])}}}
}

func goodArchive(t *testing.T) []byte {
	return targz(t, entry{name: "small/"}, entry{name: "small/train.bin", content: smallTrain}, entry{name: "small/test.bin", content: smallTest},
		entry{name: "small/readme.html", content: []byte("hello")})
}

// home serves one content, may cut connections, and keeps the Range headers that came.
type home struct {
	*httptest.Server
	content []byte
	cut     []int // the n-th request gets so many bytes (-1: none) and is then cut; 0, or none left: all
	deaf    bool  // to Range

	mu     sync.Mutex
	ranges []string
}

func serve(t *testing.T, h *home) *home {
	t.Helper()
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *home) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	n := len(h.ranges)
	h.ranges = append(h.ranges, r.Header.Get("Range"))
	h.mu.Unlock()
	if r.URL.Path != "/mirror/small.tar.gz" {
		http.NotFound(w, r)
		return
	}
	if h.deaf {
		r.Header.Del("Range")
	}
	if n < len(h.cut) && h.cut[n] != 0 {
		w = &cutter{w, max(h.cut[n], 0)}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.content))
}

// cutter ends the connection after left bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 || err != nil {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (h *home) options() GetOptions {
	return GetOptions{BaseURL: h.URL + "/mirror/", Client: h.Client()}
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("files %q (%v), want %q", got, err, want)
	}
}

var laidOut = []string{"small/readme.html", "small/test.bin", "small/train.bin"}

func TestGet(t *testing.T) {
	h := serve(t, &home{content: goodArchive(t)})
	l, dir := small(h.content), filepath.Join(t.TempDir(), "new")
	var done, total int64
	o := h.options()
	o.Progress = func(d, n int64) { done, total = d, n }
	if err := l.get(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, laidOut...)
	if got, _ := os.ReadFile(filepath.Join(dir, "small/train.bin")); !bytes.Equal(got, smallTrain) {
		t.Error("train.bin is not the archive's")
	}
	if n := int64(len(h.content)); done != n || total != n {
		t.Errorf("progress ended at %d of %d, want %d", done, total, n)
	}
	// What is there and official is kept, and asked for no more.
	if err := l.get(t.Context(), dir, o); err != nil || len(h.ranges) != 1 {
		t.Errorf("again: %v, %d requests", err, len(h.ranges))
	}
	// One file lost: the archive is fetched again.
	if err := os.Remove(filepath.Join(dir, "small/test.bin")); err != nil {
		t.Fatal(err)
	}
	if err := l.get(t.Context(), dir, o); err != nil || len(h.ranges) != 2 {
		t.Errorf("after a loss: %v, %d requests", err, len(h.ranges))
	}
	wantFiles(t, dir, laidOut...)
}

func TestGetGoesOnAfterACut(t *testing.T) {
	content := goodArchive(t)
	h := serve(t, &home{content: content, cut: []int{1000, 500}})
	dir := t.TempDir()
	if err := small(content).get(t.Context(), dir, h.options()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", "bytes=1000-", "bytes=1500-"}; !slices.Equal(h.ranges, want) {
		t.Errorf("asked for %q, want %q", h.ranges, want)
	}
	wantFiles(t, dir, laidOut...)
}

func TestGetGoesOnNextTime(t *testing.T) {
	content := goodArchive(t)
	for name, c := range map[string]struct {
		part   []byte
		deaf   bool
		ranges []string
	}{
		"in the middle":          {content[:2000], false, []string{"bytes=2000-"}},
		"all there":              {content, false, []string{"bytes=" + strconv.Itoa(len(content)) + "-"}},
		"longer than the server": {append(slices.Clone(content), 1), false, []string{"bytes=" + strconv.Itoa(len(content)+1) + "-", ""}},
		"a server without Range": {content[:2000], true, []string{"bytes=2000-"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, &home{content: content, deaf: c.deaf})
			dir := t.TempDir()
			write(t, dir, "small.tar.gz.part", c.part)
			if err := small(content).get(t.Context(), dir, h.options()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(h.ranges, c.ranges) {
				t.Errorf("asked for %q, want %q", h.ranges, c.ranges)
			}
			wantFiles(t, dir, laidOut...)
		})
	}
}

// A server that is cut without a byte more is given up, and what came before is kept.
func TestGetGivesUp(t *testing.T) {
	content := goodArchive(t)
	h := serve(t, &home{content: content, cut: []int{700, -1}})
	dir := t.TempDir()
	err := small(content).get(t.Context(), dir, h.options())
	if !errors.Is(err, ErrDownload) || !strings.Contains(err.Error(), "after 700 of "+strconv.Itoa(len(content))) || len(h.ranges) != 2 {
		t.Errorf("after %d requests: %v", len(h.ranges), err)
	}
	if part, err := os.ReadFile(filepath.Join(dir, "small.tar.gz.part")); err != nil || !bytes.Equal(part, content[:700]) {
		t.Errorf("%d bytes kept (%v), want 700", len(part), err)
	}
}

func TestGetCancelled(t *testing.T) {
	content := goodArchive(t)
	h := serve(t, &home{content: content, cut: []int{700}})
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	o := h.options()
	o.Progress = func(done, _ int64) {
		if done == 700 {
			cancel()
		}
	}
	if err := small(content).get(ctx, dir, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	if part, err := os.ReadFile(filepath.Join(dir, "small.tar.gz.part")); err != nil || !bytes.Equal(part, content[:700]) {
		t.Fatalf("%d bytes kept (%v), want 700", len(part), err)
	}
	h.Close()
	err := small(content).get(t.Context(), dir, h.options())
	if !errors.Is(err, ErrDownload) {
		t.Errorf("no server: %v", err)
	}
	wantFiles(t, dir, "small.tar.gz.part")
}

func TestGetRefuses(t *testing.T) {
	content := goodArchive(t)
	evil := func(e entry) []byte {
		return targz(t, entry{name: "small/train.bin", content: smallTrain}, entry{name: "small/test.bin", content: smallTest}, e)
	}
	for name, c := range map[string]struct {
		official, served []byte // served nil: 404
		is               error
		want             string
	}{
		"not found":         {content, nil, ErrDownload, "404"},
		"checksum":          {content, append(slices.Clone(content[1:]), 0), ErrChecksum, "what was downloaded is deleted"},
		"path up":           {evil(entry{name: "../evil", content: []byte("x")}), nil, ErrFormat, `"../evil", outside of small`},
		"path up and down":  {evil(entry{name: "small/../../evil", content: []byte("x")}), nil, ErrFormat, "outside of small"},
		"absolute path":     {evil(entry{name: "/tmp/evil", content: []byte("x")}), nil, ErrFormat, "outside of small"},
		"beside the folder": {evil(entry{name: "evil", content: []byte("x")}), nil, ErrFormat, "outside of small"},
		"a link":            {evil(entry{name: "small/link", link: "/etc"}), nil, ErrFormat, "neither a file nor a folder"},
		"twice":             {evil(entry{name: "small/test.bin", content: []byte("x")}), nil, fs.ErrExist, "test.bin"},
		"a file missing":    {targz(t, entry{name: "small/train.bin", content: smallTrain}), nil, fs.ErrNotExist, "test.bin"},
		"another file":      {targz(t, entry{name: "small/train.bin", content: smallTrain}, entry{name: "small/test.bin", content: smallTrain}), nil, ErrChecksum, "test.bin in"},
		"no archive":        {[]byte("a page that says: sorry"), nil, gzip.ErrHeader, "unpacking"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &home{content: c.served}
			if c.served == nil && name != "not found" {
				h.content = c.official
			}
			serve(t, h)
			o, outer := h.options(), t.TempDir()
			if name == "not found" {
				o.BaseURL = h.URL + "/elsewhere"
			}
			dir := filepath.Join(outer, "data")
			err := small(c.official).get(t.Context(), dir, o)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v with %q", err, c.is, c.want)
			}
			err = filepath.WalkDir(outer, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && filepath.Base(path) != "small.tar.gz.part" {
					err = fmt.Errorf("%s was left there", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGetNeverOverwrites(t *testing.T) {
	h := serve(t, &home{content: goodArchive(t)})
	dir := t.TempDir()
	write(t, dir, "small/test.bin", []byte("mine"))
	if err := small(h.content).get(t.Context(), dir, h.options()); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "small/test.bin")); string(got) != "mine" || len(h.ranges) != 0 {
		t.Errorf("the file is now %q after %d requests", got, len(h.ranges))
	}
}

// Somebody without a network brings the archive.
func TestGetTakesAnArchiveThatIsThere(t *testing.T) {
	content := goodArchive(t)
	dir := t.TempDir()
	write(t, dir, "small.tar.gz", content)
	if err := small(content).get(t.Context(), dir, GetOptions{BaseURL: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, append(slices.Clone(laidOut), "small.tar.gz")...)
}

func TestGetStoresWhatIsNotPacked(t *testing.T) {
	content := []byte("a .mat file")
	sum := md5.Sum(content)
	l := &layout{name: "s", folder: "s", train: []file{{name: "a.mat", images: 1, checksum: "md5:" + hex.EncodeToString(sum[:]), archive: "a.mat"}},
		archives: []Archive{{"s", "a.mat", "", hex.EncodeToString(sum[:])}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	defer server.Close()
	dir := t.TempDir()
	for range 2 {
		if err := l.get(t.Context(), dir, GetOptions{BaseURL: server.URL}); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, "s/a.mat")
		server.Close() // the second time nothing is asked for
	}
}

func TestGetByName(t *testing.T) {
	if err := Get(t.Context(), "mnist", t.TempDir(), GetOptions{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown set: %v", err)
	}
	if err := Get(t.Context(), "digits", t.TempDir(), GetOptions{}); err != nil {
		t.Errorf("digits are there already: %v", err)
	}
}
