package dataloader

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// unpack lays the files of a .tar.gz out in dir. It unpacks into a folder beside them first, so that no name ever stands for half a file, and
// takes files and folders below the set's own folder only: an archive with a path that leads elsewhere, or a link, is refused as a whole.
func (l *layout) unpack(archive, dir string) error {
	aside, err := os.MkdirTemp(dir, ".dither-unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	names, err := l.untar(archive, aside)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", archive, err)
	}
	for _, f := range l.files() {
		sum, err := fileSum(filepath.Join(aside, l.folder, f.name), f.algorithm())
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", archive, err)
		}
		if sum != f.checksum {
			return fmt.Errorf("%w: %s in %s has %s, officially %s", ErrChecksum, f.name, archive, sum, f.checksum)
		}
	}
	for _, name := range names {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(aside, name), to); err != nil {
			return err
		}
	}
	return nil
}

// untar writes an archive's files below to and returns their names.
func (l *layout) untar(archive, to string) (names []string, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root, err := os.OpenRoot(to) // refuses to leave the folder, whatever the name
	if err != nil {
		return nil, err
	}
	defer root.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return names, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, err
		}
		name := filepath.Clean(filepath.FromSlash(h.Name))
		if below, err := filepath.Rel(l.folder, name); err != nil || !filepath.IsLocal(below) {
			return nil, fmt.Errorf("%w: the archive has %q, outside of %s: nothing of it is used", ErrFormat, h.Name, l.folder)
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			if err := writeFile(root, name, t); err != nil {
				return nil, err
			}
			names = append(names, name)
		default:
			return nil, fmt.Errorf("%w: the archive has %q, neither a file nor a folder: nothing of it is used", ErrFormat, h.Name)
		}
	}
}

func writeFile(root *os.Root, name string, from io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
