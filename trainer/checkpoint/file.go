package checkpoint

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile bounds what is read into memory: far above any network's checkpoint or a data set's logits.
const maxFile = 4 << 30

// readFile is the whole of a regular file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: it is no regular file: %w", path, ErrFormat)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("reading %s: it has %d bytes, more than the %d that a checkpoint may have: %w", path, info.Size(), int64(maxFile), ErrFormat)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// writeAside gives path the bytes that write writes, whole or not at all: they go to a file beside it that is synced, then renamed, then the
// folder is synced. Whatever fails, the old file is as it was and the file beside it is gone.
func writeAside(path string, write func(io.Writer) error) (err error) {
	aside := path + ".writing-" + rand.Text()[:8]
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w (what was there before is untouched)", path, err)
		}
	}()
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(aside)
		}
	}()
	defer f.Close() // a second Close after the one below is harmless
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename in dir last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
