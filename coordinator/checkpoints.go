package coordinator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	checkpointsDir  = "checkpoints"                    // in the run's folder
	checkpointName  = "iteration-%08d.safetensors"     // its number is that of the iteration that it is after
	keptCheckpoints = 3                                // the newest; the last of a run is always among them
	asidePattern    = ".iteration-%08d.*.part"         // while it is being written
	asideGlob       = ".iteration-*.part"              //
	checkpointGlob  = "iteration-????????.safetensors" // numbers of eight digits, so that names sort as they do
)

// checkpoints is the run's checkpoints on disk. One counts once it has its name: it is written aside, synced, held against its hash, renamed.
type checkpoints struct {
	dir  string
	full func(io.Writer) io.Writer // stands in for a disk that fills up, in tests; nil: none

	mu     sync.Mutex                // over what names there are
	failed atomic.Pointer[diskFault] // the first checkpoint that the disk did not take
}

// openCheckpoints makes the folder where it is missing, and removes what was left half written.
func openCheckpoints(runDir string) (*checkpoints, error) {
	c := &checkpoints{dir: filepath.Join(runDir, checkpointsDir)}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("the run's checkpoints: %w", err)
	}
	halves, err := filepath.Glob(filepath.Join(c.dir, asideGlob))
	if err != nil {
		return nil, fmt.Errorf("the run's checkpoints: %w", err)
	}
	for _, half := range halves {
		if err := os.Remove(half); err != nil {
			return nil, fmt.Errorf("the run's checkpoints: removing one that is half written: %w", err)
		}
	}
	return c, nil
}

// list is the iterations of the whole checkpoints, ascending.
func (c *checkpoints) list() ([]uint32, error) {
	paths, err := filepath.Glob(filepath.Join(c.dir, checkpointGlob))
	if err != nil {
		return nil, err
	}
	var ks []uint32
	for _, path := range paths {
		var k uint32
		if _, err := fmt.Sscanf(filepath.Base(path), checkpointName, &k); err == nil {
			ks = append(ks, k)
		}
	}
	slices.Sort(ks)
	return ks, nil
}

// newest is the iteration of the newest whole checkpoint.
func (c *checkpoints) newest() (k uint32, ok bool) {
	ks, err := c.list()
	if err != nil || len(ks) == 0 {
		return 0, false
	}
	return ks[len(ks)-1], true
}

func (c *checkpoints) path(k uint32) string {
	return filepath.Join(c.dir, fmt.Sprintf(checkpointName, k))
}

// relative is the path of a checkpoint as events and results have it: from the run's folder, with slashes.
func relative(k uint32) string { return checkpointsDir + "/" + fmt.Sprintf(checkpointName, k) }

// incoming is a checkpoint that is being written aside.
type incoming struct {
	c     *checkpoints
	head  *ditherv1.PutCheckpointRequest
	file  *os.File
	to    io.Writer
	hash  hash.Hash
	bytes uint64
	fresh bool // after commit: the checkpoint was not there before
}

// errDisk marks a checkpoint that the disk did not take.
var errDisk = errors.New("the disk")

// diskFault is for the trainer that sent the checkpoint; the coordinator finds errDisk in it.
type diskFault struct{ error }

func (diskFault) Is(target error) bool { return target == errDisk }

func (f diskFault) Unwrap() error { return f.error }

// GRPCStatus is what goes over the wire.
func (f diskFault) GRPCStatus() *status.Status { return status.Convert(f.error) }

// take writes a checkpoint whose first piece is head and whose others next gives, until io.EOF; fresh: it was not there before.
// Once the disk did not take one it takes no more: the run ends, and its result is to find the room that another try would fill.
func (c *checkpoints) take(head *ditherv1.PutCheckpointRequest, next func() (*ditherv1.PutCheckpointRequest, error)) (fresh bool, err error) {
	if f := c.failed.Load(); f != nil {
		return false, *f
	}
	in, err := c.begin(head)
	if err != nil {
		return false, err
	}
	defer in.abort()
	for m := head; ; {
		if err := in.write(m.GetData()); err != nil {
			return false, err
		}
		if m, err = next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return false, err
		}
	}
	err = in.commit()
	return in.fresh, err
}

// begin opens a file aside for the checkpoint that head announces.
func (c *checkpoints) begin(head *ditherv1.PutCheckpointRequest) (*incoming, error) {
	file, err := os.CreateTemp(c.dir, fmt.Sprintf(asidePattern, head.GetIteration()))
	if err != nil {
		return nil, c.fault(head, err)
	}
	sum := sha256.New()
	in := &incoming{c: c, head: head, file: file, hash: sum}
	var disk io.Writer = file
	if c.full != nil {
		disk = c.full(file)
	}
	in.to = io.MultiWriter(disk, sum)
	return in, nil
}

// write adds a piece.
func (in *incoming) write(piece []byte) error {
	if f := in.c.failed.Load(); f != nil {
		return *f
	}
	in.bytes += uint64(len(piece))
	if in.bytes > in.head.GetTotalBytes() {
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("more than the %d bytes that were announced came", in.head.GetTotalBytes()), in.where(), "send it again")
	}
	if _, err := in.to.Write(piece); err != nil {
		return in.c.fault(in.head, err)
	}
	return nil
}

func (in *incoming) where() string {
	return fmt.Sprintf("checkpoint after iteration %d", in.head.GetIteration())
}

// abort removes what was written; after commit it does nothing.
func (in *incoming) abort() {
	_ = in.file.Close()
	_ = os.Remove(in.file.Name())
}

// commit gives the checkpoint its name, if it is what was announced, and lets the oldest go. Another upload of the same bytes is no error;
// other bytes for the same iteration are.
func (in *incoming) commit() error {
	if in.bytes != in.head.GetTotalBytes() {
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("it was cut short: %d of %d bytes came", in.bytes, in.head.GetTotalBytes()), in.where(), "send it again")
	}
	if got := hex.EncodeToString(in.hash.Sum(nil)); got != in.head.GetFileSha256() {
		return ditherv1.Fault(codes.DataLoss, fmt.Sprintf("what came has sha256 %.12s and %.12s was announced", got, in.head.GetFileSha256()), in.where(), "send it again")
	}
	// CreateTemp's files are for their owner alone; a checkpoint is as readable as the rest of the folder.
	if err := errors.Join(in.file.Chmod(0o644), in.file.Sync(), in.file.Close()); err != nil {
		return in.c.fault(in.head, err)
	}
	in.c.mu.Lock()
	defer in.c.mu.Unlock()
	path := in.c.path(in.head.GetIteration())
	switch old, err := fileSHA256(path); {
	case err == nil && old == in.head.GetFileSha256():
		return nil
	case err == nil:
		return ditherv1.Fault(codes.AlreadyExists, fmt.Sprintf("one with sha256 %.12s is on disk and this one has %.12s", old, in.head.GetFileSha256()), in.where(), "the trainers do not agree: do not use either")
	case !errors.Is(err, fs.ErrNotExist):
		return in.c.fault(in.head, err)
	}
	if err := os.Rename(in.file.Name(), path); err != nil {
		return in.c.fault(in.head, err)
	}
	if err := syncDir(in.c.dir); err != nil {
		return in.c.fault(in.head, err)
	}
	in.c.prune()
	in.fresh = true
	return nil
}

// prune removes all but the newest. One that cannot be removed does no harm.
func (c *checkpoints) prune() {
	ks, _ := c.list()
	for _, k := range ks[:max(0, len(ks)-keptCheckpoints)] {
		_ = os.Remove(c.path(k))
	}
}

// fault is an error of the disk, for the trainer that sent the checkpoint, and for whoever sends one after it.
func (c *checkpoints) fault(head *ditherv1.PutCheckpointRequest, err error) error {
	where := fmt.Sprintf("checkpoint after iteration %d in %s", head.GetIteration(), c.dir)
	f := diskFault{ditherv1.Fault(codes.Internal, fmt.Sprintf("it cannot be written: %v", err), where, "see to the folder and resume the run; older checkpoints are whole")}
	if noSpace(err) {
		f = diskFault{ditherv1.Fault(codes.ResourceExhausted, fmt.Sprintf("no space is left for its %d bytes", head.GetTotalBytes()), where, "free some space and resume the run; older checkpoints are whole")}
	}
	c.failed.CompareAndSwap(nil, &f)
	return f
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
