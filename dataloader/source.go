package dataloader

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// source is a file that is being read and hashed at once.
type source struct {
	*bufio.Reader
	path string
	size int64 // bytes

	f      *os.File
	hashes map[string]hash.Hash // by algorithm
}

// openSource opens a file to be hashed with the algorithms given: "md5", "sha1".
func openSource(path string, algorithms ...string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrFormat, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &source{path: path, size: info.Size(), f: f, hashes: map[string]hash.Hash{}}
	var all []io.Writer
	for _, a := range algorithms {
		if s.hashes[a] == nil {
			s.hashes[a] = newHash(a)
			all = append(all, s.hashes[a])
		}
	}
	s.Reader = bufio.NewReaderSize(io.TeeReader(f, io.MultiWriter(all...)), 1<<16)
	return s, nil
}

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "md5":
		return md5.New()
	case "sha1":
		return sha1.New()
	}
	panic("dataloader: no hash " + algorithm)
}

// checksum is "algorithm:hex" of the whole file; what was not read yet is read, and thrown away.
func (s *source) checksum(algorithm string) (string, error) {
	if _, err := io.Copy(io.Discard, s.Reader); err != nil {
		return "", fmt.Errorf("reading %s: %w", s.path, err)
	}
	return algorithm + ":" + hex.EncodeToString(s.hashes[algorithm].Sum(nil)), nil
}

func (s *source) Close() error { return s.f.Close() }

// algorithm is the kind of the file's official checksum.
func (f file) algorithm() string {
	a, _, _ := strings.Cut(f.checksum, ":")
	return a
}
