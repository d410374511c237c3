package teacher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"syscall"
)

// ErrCacheFile is wrapped where a file is not this run's cache, or cannot be made.
var ErrCacheFile = errors.New("the teacher's cache file")

// errNoRoom is why there is no file where nobody is to blame: the run does without.
var errNoRoom = errors.New("no room")

const (
	cacheHeaderBytes = 4096
	cacheFileBytes   = 16 << 30 // a file that could grow beyond it is not begun
)

// cacheFile keeps the soft labels of views in a file that teacher-logit services share: those of runs side by side, and of later runs. After the header there is a
// row for each view of each image, at a place that its key gives, little-endian:
//
//	logits f32 [classes], CRC-32C of header, key and logits u32 (1 where it would be 0)
//
// The file is sparse; what was never written reads as zeros, which no row is. A soft label is a function of the header and its key, so nobody needs a lock: whoever
// writes a row at the same time writes the same bytes, and what is half there (another is writing it, or a crash tore it, or the disk changed it) is as
// if it were not there, and is computed again. Rows go by pread and pwrite, which share memory among processes as a map would, but give an error where the disk
// is full, or the file was cut, or the device fails; a map would end the process.
type cacheFile struct {
	f     *os.File
	log   *slog.Logger
	seed  uint32 // CRC-32C of the header
	rows  uint64
	row   []byte // one row, on its way
	write func(b []byte, at int64) (int, error)

	known  []uint64 // bit by key: this service has found or written it
	used   uint64   // bits set in known
	full   bool     // rows cannot be written any more
	memory func() *cache
	spare  *cache // made when full: what the file does not take
}

// openCacheFile opens the file of the run whose header is given, or makes it. An error that wraps errNoRoom says why there can be none; any other refuses
// the file. memory makes a cache for the time when the file takes no more.
func openCacheFile(path string, header []byte, classes int, rows uint64, memory func() *cache, log *slog.Logger) (*cacheFile, error) {
	size := 4*uint64(classes) + 4
	if rows > (cacheFileBytes-cacheHeaderBytes)/size {
		return nil, fmt.Errorf("%w %s: %w: %d soft labels of %d classes could come to %.0f MiB, and %d MiB are the most", ErrCacheFile, path, errNoRoom, rows, classes, float64(rows)*float64(size)/(1<<20), cacheFileBytes>>20)
	}
	c := &cacheFile{log: log, seed: crc32.Checksum(header, castagnoli), rows: rows, row: make([]byte, size), known: make([]uint64, (rows+63)/64), memory: memory}
	f, err := openOrMake(path, header, cacheHeaderBytes+int64(rows*size))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		// Somebody else's may still be read.
		var only error
		if f, only = os.Open(path); only == nil {
			c.give(err)
			err = nil
		}
	}
	if err != nil {
		if diskFull(err) {
			return nil, fmt.Errorf("%w: %w: %w", ErrCacheFile, errNoRoom, err)
		}
		return nil, fmt.Errorf("%w: %w; give --teacher-cache-file another", ErrCacheFile, err)
	}
	if err := checkHeader(f, header); err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s %w", ErrCacheFile, path, err), f.Close())
	}
	c.f, c.write = f, f.WriteAt
	return c, nil
}

// openOrMake opens a file; one that is not there is made aside, so that nobody ever sees a header half written.
func openOrMake(path string, header []byte, bytes int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	aside, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(aside.Name())
	err = errors.Join(aside.Chmod(0o644), writeSynced(aside, header, 0))
	if err == nil {
		err = aside.Truncate(bytes)
	}
	if err = errors.Join(err, aside.Close()); err != nil {
		return nil, err
	}
	// Of two that make it at once the second takes the first's.
	if err := os.Link(aside.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// diskFull tells an error of writing that is over when there is more room.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

func (c *cacheFile) at(key uint64) int64 { return cacheHeaderBytes + int64(key)*int64(len(c.row)) }

// sum is what stands at the end of a row.
func (c *cacheFile) sum(key uint64, logits []byte) uint32 {
	s := crc32.Update(c.seed, castagnoli, binary.LittleEndian.AppendUint64(nil, key))
	if s = crc32.Update(s, castagnoli, logits); s == 0 {
		return 1 // what was never written ends in 0
	}
	return s
}

// get copies the soft label of key to dst, if it is there and whole.
func (c *cacheFile) get(key uint64, dst []float32) bool {
	end := len(c.row) - 4
	if _, err := c.f.ReadAt(c.row, c.at(key)); err != nil || binary.LittleEndian.Uint32(c.row[end:]) != c.sum(key, c.row[:end]) {
		return c.spare != nil && c.spare.get(key, dst)
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(c.row[4*i:]))
	}
	c.note(key)
	return true
}

// put keeps the soft label of key.
func (c *cacheFile) put(key uint64, logits []float32) {
	if !c.full {
		for i, v := range logits {
			binary.LittleEndian.PutUint32(c.row[4*i:], math.Float32bits(v))
		}
		end := len(c.row) - 4
		binary.LittleEndian.PutUint32(c.row[end:], c.sum(key, c.row[:end]))
		_, err := c.write(c.row, c.at(key))
		if err == nil {
			c.note(key)
			return
		}
		c.give(err)
	}
	c.spare.put(key, logits)
}

// give lets the file be: from now on it is read, and what it lacks is kept in memory.
func (c *cacheFile) give(why error) {
	c.full, c.spare = true, c.memory()
	c.log.Warn("the teacher's cache file is read, but not written; what it lacks is kept in memory", "reason", why)
}

func (c *cacheFile) note(key uint64) {
	word, bit := &c.known[key/64], uint64(1)<<(key%64)
	c.used += uint64(bits.OnesCount64(bit &^ *word))
	*word |= bit
}

// entries are the soft labels that this service has found here or written.
func (c *cacheFile) entries() uint64 {
	if c.spare != nil {
		return c.used + c.spare.entries()
	}
	return c.used
}

func (c *cacheFile) most() uint64 { return c.rows }

func (c *cacheFile) close() error { return c.f.Close() }

// checkHeader wants a file to begin with a header.
func checkHeader(f io.ReaderAt, want []byte) error {
	got := make([]byte, cacheHeaderBytes)
	if n, err := f.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if n < len(got) {
		return fmt.Errorf("has %d bytes and is none; give --teacher-cache-file another, or remove it", n)
	}
	return compareHeaders(got, want)
}
