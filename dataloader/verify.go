package dataloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileReport says what became of one of a data set's files.
type FileReport struct {
	File    string `json:"file"` // its path
	Present bool   `json:"present"`
	Bytes   int64  `json:"bytes"`
	Records int    `json:"records"` // images; 0 where the content is not sound
	MD5     string `json:"md5"`     // hex
	// Checksum and OfficialChecksum are "md5:<hex>" or "sha1:<hex>", of the kind that was published for the file.
	Checksum         string `json:"checksum"`
	OfficialChecksum string `json:"official_checksum"`
	Official         bool   `json:"official"` // the content is sound and the checksums agree
	Problem          string `json:"problem"`  // a sentence; "": none
}

// Verify reads every file of a set whole and says of each what it is; digits have none. An error is about the set's name or the file system,
// never about a file's content or absence: those are in the reports.
func Verify(set, dir string) ([]FileReport, error) {
	l, err := find(set)
	if err != nil {
		return nil, err
	}
	var reports []FileReport
	for _, f := range l.files() {
		r, err := l.verify(dir, f)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (l *layout) verify(dir string, f file) (FileReport, error) {
	path := l.path(dir, f)
	r := FileReport{File: path, OfficialChecksum: f.checksum}
	src, err := openSource(path, "md5", f.algorithm())
	if errors.Is(err, fs.ErrNotExist) {
		r.Problem = fmt.Sprintf("missing: part of the official %s", f.archive)
		return r, nil
	}
	if errors.Is(err, ErrFormat) {
		r.Problem = err.Error()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer src.Close()
	r.Present, r.Bytes = true, src.size
	images := l.shape
	l.reserve(&images, dir, []file{f}, 0)
	r.Records, err = l.decode(src, &images, 0)
	if errors.Is(err, ErrFormat) {
		r.Problem = err.Error()
	} else if err != nil {
		return r, err
	}
	if r.Checksum, err = src.checksum(f.algorithm()); err != nil {
		return r, err
	}
	sum, err := src.checksum("md5")
	if err != nil {
		return r, err
	}
	r.MD5 = sum[len("md5:"):]
	if r.Problem == "" {
		r.Problem = f.unofficial(filepath.Base(path), r.Records, r.Checksum)
		r.Official = r.Problem == ""
	}
	return r, nil
}

// SetReport says what of a data set is there.
type SetReport struct {
	Set      string   `json:"set"`
	Classes  int      `json:"classes"`
	Embedded bool     `json:"embedded"` // part of the program
	Complete bool     `json:"complete"` // every file is there, whether or not official
	Files    []string `json:"files"`    // paths of those that are there
	Missing  []string `json:"missing"`  // paths of those that are not
	Bytes    int64    `json:"bytes"`    // of Files
	// TrainImages and TestImages are those of the official files.
	TrainImages int `json:"train_images"`
	TestImages  int `json:"test_images"`
}

// List says for every set which of its files are in dir, without reading them.
func List(dir string) ([]SetReport, error) {
	var reports []SetReport
	for _, l := range layouts {
		r := SetReport{Set: l.name, Classes: l.shape.Classes, Embedded: l.folder == "", Files: []string{}, Missing: []string{}}
		if r.Embedded {
			r.TrainImages, r.TestImages = digitsTrain, digitsAll-digitsTrain
		}
		for _, f := range l.train {
			r.TrainImages += f.images
		}
		for _, f := range l.test {
			r.TestImages += f.images
		}
		for _, f := range l.files() {
			path := l.path(dir, f)
			info, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				r.Missing = append(r.Missing, path)
			case err != nil:
				return nil, err
			default:
				r.Files, r.Bytes = append(r.Files, path), r.Bytes+info.Size()
			}
		}
		r.Complete = len(r.Missing) == 0
		reports = append(reports, r)
	}
	return reports, nil
}
