package coordinator

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestTheNewestCheckpointsAreKept(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	dir := filepath.Join(w.c.config.Dir, "checkpoints")
	for k := uint32(1); k <= 5; k++ {
		data := bytes.Repeat([]byte{byte(k)}, 2500)
		path, err := put(w.ctx, w.client, k, data, nil)
		if want := fmt.Sprintf("checkpoints/iteration-%08d.safetensors", k); err != nil || path != want {
			t.Fatalf("%q, %v", path, err)
		}
		if got := read(t, filepath.Join(w.c.config.Dir, path)); got != string(data) {
			t.Errorf("checkpoint %d has other bytes", k)
		}
	}
	if got := files(t, dir); got != "iteration-00000003.safetensors iteration-00000004.safetensors iteration-00000005.safetensors" {
		t.Errorf("there are %s", got)
	}
	// The newest is what a role is given.
	stream, err := w.client.GetFile(w.ctx, &ditherv1.GetFileRequest{Kind: ditherv1.FileKind_FILE_KIND_CHECKPOINT})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || !bytes.Equal(m.GetData(), bytes.Repeat([]byte{5}, 2500)) {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("after the last piece: %v", err)
	}
}

func TestTheSameCheckpointTwice(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	data := bytes.Repeat([]byte("state"), 1000)
	var all sync.WaitGroup
	for range 4 { // at once, as survivors of a failure do
		all.Go(func() {
			if path, err := put(w.ctx, w.client, 7, data, nil); err != nil || path != "checkpoints/iteration-00000007.safetensors" {
				t.Errorf("%q, %v", path, err)
			}
		})
	}
	all.Wait()
	_, err := put(w.ctx, w.client, 7, []byte("other"), nil)
	refused(t, err, codes.AlreadyExists, "checkpoint after iteration 7", "the trainers do not agree")
	dir := filepath.Join(w.c.config.Dir, "checkpoints")
	if got := files(t, dir); got != "iteration-00000007.safetensors" {
		t.Errorf("there are %s", got)
	}
	if got := read(t, filepath.Join(dir, "iteration-00000007.safetensors")); got != string(data) {
		t.Error("the first checkpoint was changed")
	}
	rec, err := runlog.Read(w.c.config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range rec.Events {
		if e.Kind == runlog.KindCheckpoint {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events for one checkpoint", n)
	}
}

func TestCheckpointsThatAreNotTaken(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	data := bytes.Repeat([]byte("state"), 1000)
	if _, err := put(w.ctx, w.client, 3, data, nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*ditherv1.PutCheckpointRequest)
		code   codes.Code
		words  []string
	}{
		"of another spec": {func(m *ditherv1.PutCheckpointRequest) { m.SpecSha256 = "ff" }, codes.FailedPrecondition, []string{"belongs to the spec ff and this run has 001122334455"}},
		"cut short":       {func(m *ditherv1.PutCheckpointRequest) { m.TotalBytes++ }, codes.InvalidArgument, []string{"checkpoint after iteration 4", "cut short: 5000 of 5001 bytes came"}},
		"too long":        {func(m *ditherv1.PutCheckpointRequest) { m.TotalBytes = 2000 }, codes.InvalidArgument, []string{"more than the 2000 bytes"}},
		"changed":         {func(m *ditherv1.PutCheckpointRequest) { m.FileSha256 = paramsA }, codes.DataLoss, []string{"and aa1122334455 was announced"}},
		"nameless":        {func(m *ditherv1.PutCheckpointRequest) { m.FileSha256 = "" }, codes.InvalidArgument, []string{"its first piece must have the file's size and sha256"}},
		"beyond the end":  {func(m *ditherv1.PutCheckpointRequest) { m.Iteration = 21 }, codes.InvalidArgument, []string{"the run has 20 iterations"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := put(w.ctx, w.client, 4, data, c.change)
			refused(t, err, c.code, c.words...)
		})
	}
	empty, err := w.client.PutCheckpoint(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = empty.CloseAndRecv()
	refused(t, err, codes.InvalidArgument, "no piece came")
	if got := files(t, filepath.Join(w.c.config.Dir, "checkpoints")); got != "iteration-00000003.safetensors" {
		t.Errorf("there are %s", got)
	}
}

// fullDisk has room for so many bytes.
type fullDisk struct {
	to   io.Writer
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		return d.room, &os.PathError{Op: "write", Path: "aside", Err: syscall.ENOSPC}
	}
	d.room -= len(p)
	return d.to.Write(p)
}

func TestADiskThatIsFull(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	data := bytes.Repeat([]byte("state"), 1000)
	if _, err := put(w.ctx, w.client, 3, data, nil); err != nil {
		t.Fatal(err)
	}
	w.term().store.full = func(to io.Writer) io.Writer { return &fullDisk{to, 3500} }
	diskIsFull(t, w, data)
}

// On a real file system with room for one checkpoint, where the machine lets us make one.
func TestAFileSystemThatIsFull(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=512k", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system of our own here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Error(err)
		}
	})
	w := start(t, configFor(dir, 1))
	if _, err := put(w.ctx, w.client, 3, bytes.Repeat([]byte("state"), 1000), nil); err != nil {
		t.Fatal(err)
	}
	diskIsFull(t, w, bytes.Repeat([]byte("state"), 100<<10))
	if err := w.c.Close(); err != nil { // before its disk goes
		t.Error(err)
	}
}

// diskIsFull sends a checkpoint for which there is no room, and looks at what is left.
func diskIsFull(t *testing.T, w *cluster, data []byte) {
	t.Helper()
	_, err := put(w.ctx, w.client, 4, data, nil)
	refused(t, err, codes.ResourceExhausted, "checkpoint after iteration 4 in "+w.term().store.dir, fmt.Sprintf("no space is left for its %d bytes", len(data)), "free some space and resume the run; older checkpoints are whole")
	if got := files(t, w.term().store.dir); got != "iteration-00000003.safetensors" {
		t.Errorf("there are %s", got)
	}
	if got := read(t, w.term().store.path(3)); got != strings.Repeat("state", 1000) {
		t.Error("the older checkpoint was changed")
	}
	// Another try would take the room that the result needs.
	store := w.term().store
	store.full = nil
	_, err = store.take(&ditherv1.PutCheckpointRequest{Iteration: 5, TotalBytes: 1, Data: []byte("5")}, func() (*ditherv1.PutCheckpointRequest, error) { return nil, io.EOF })
	refused(t, err, codes.ResourceExhausted, "checkpoint after iteration 4", "no space is left")
	w.ends("failed", "no space is left", "free some space and resume the run")
}
