package dataloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// split is one of a set's two parts.
type split int

const (
	train split = iota
	test
)

func (p split) String() string { return [...]string{"training", "test"}[p] }

// load reads a split of at most limit images (0: all) into s, whose images are still empty, with a warning for what is not official.
func (l *layout) load(s *Set, dir string, p split, limit int) error {
	im, files := &s.Train, l.train
	if p == test {
		im, files = &s.Test, l.test
	}
	if l.folder == "" {
		from, to := 0, digitsTrain
		if p == test {
			from, to = digitsTrain, digitsAll
		}
		if limit > 0 {
			to = min(to, from+limit)
		}
		if err := digits(im, from, to); err != nil {
			return err
		}
	} else {
		l.reserve(im, dir, files, limit)
		for _, f := range files {
			if limit > 0 && im.N() == limit {
				break
			}
			if err := l.read(s, dir, f, im, limit); err != nil {
				return err
			}
		}
	}
	if im.N() < limit {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %d %s images were asked for and there are %d: all of them are used", l.name, limit, p, im.N()))
	}
	return nil
}

// reserve gives im, for a set whose files' sizes tell the number of their images, the memory that it will need, so that it is never copied.
// A file that is missing is found out later, if it is needed at all.
func (l *layout) reserve(im *Images, dir string, files []file, limit int) {
	if l.record == 0 {
		return
	}
	var n int
	for _, f := range files {
		if info, err := os.Stat(l.path(dir, f)); err == nil {
			n += int(info.Size()) / l.record
		}
	}
	if limit > 0 {
		n = min(n, limit)
	}
	im.Pixels = make([]byte, 0, n*im.imageBytes())
	im.Labels = make([]int32, 0, n)
}

// path is where a file, or its part where that alone is there, is to be found.
func (l *layout) path(dir string, f file) string {
	path := filepath.Join(dir, l.folder, f.name)
	if _, err := os.Stat(path); f.part == "" || !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	// The one error of Glob is that of a malformed pattern.
	if parts, _ := fs.Glob(os.DirFS(filepath.Dir(path)), f.part); len(parts) > 0 {
		return filepath.Join(filepath.Dir(path), parts[len(parts)-1])
	}
	return path
}

// read appends a file's images to im, and a warning to s where the file is not the official one.
func (l *layout) read(s *Set, dir string, f file, im *Images, limit int) error {
	path := l.path(dir, f)
	src, err := openSource(path, f.algorithm())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s, of the official %s: run `dither data get %s --data %s`, or point --data at the folder that holds %s",
			ErrMissing, path, f.archive, l.name, filepath.Clean(dir), l.folder)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	images, err := l.decode(src, im, limit)
	if errors.Is(err, ErrFormat) {
		return fmt.Errorf("%w: move it away and run `dither data get %s --data %s`", err, l.name, filepath.Clean(dir))
	}
	if err != nil {
		return err
	}
	sum, err := src.checksum(f.algorithm())
	if err != nil {
		return err
	}
	if why := f.unofficial(filepath.Base(path), images, sum); why != "" {
		s.Official = false
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %s %s: it is used as it is, and results with it are not comparable with published ones",
			l.name, filepath.Join(l.folder, filepath.Base(path)), why))
	}
	return nil
}

// unofficial says how a file differs from the official one; "": not at all.
func (f file) unofficial(name string, images int, sum string) string {
	switch {
	case sum == f.checksum:
		return ""
	case name != f.name:
		return fmt.Sprintf("stands in for %s, with %d of its %d images", f.name, images, f.images)
	case images != f.images:
		return fmt.Sprintf("holds %d images where the official file holds %d", images, f.images)
	default:
		return fmt.Sprintf("is not the official file (%.13s..., officially %.13s...)", sum, f.checksum)
	}
}

// classNames are the lines of the set's file of names, or the classes' numbers where there is none or it does not fit.
func (l *layout) classNames(dir string) []string {
	if l.names != "" {
		text, err := os.ReadFile(filepath.Join(dir, l.folder, l.names))
		if names := strings.Fields(string(text)); err == nil && len(names) == l.shape.Classes {
			return names
		}
	}
	names := make([]string, l.shape.Classes)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}
