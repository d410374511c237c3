package teacher

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A file that belongs to somebody else is read, and left as it is.
func TestCacheFileThatMayOnlyBeRead(t *testing.T) {
	c := filed(t)
	ids := everyone(40)
	want := ask(t, opened(t, c), 1, ids...)
	before, err := os.ReadFile(c.Cache)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(c.Cache)
	for path, mode := range map[string]os.FileMode{c.Cache: 0o444, dir: 0o555, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if os.Geteuid() == 0 {
		// Root may write everything; this thread is nobody's while it opens the file.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		syscall.Setfsuid(65534)
		defer syscall.Setfsuid(0)
	}
	s := opened(t, c)
	sameLabels(t, "found", ask(t, s, 1, ids...), want)
	ask(t, s, 2, everyone(80)...)
	ask(t, s, 2, everyone(80)...)
	if r := statusOf(t, s); r.GetCacheHits() < 120 || r.GetCacheMisses() == 0 {
		t.Errorf("the status is %v", r)
	}
	if !strings.Contains(log.String(), "permission denied") {
		t.Errorf("it says: %s", log.String())
	}
	if after, err := os.ReadFile(c.Cache); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file has changed, or %v", err)
	}
}
