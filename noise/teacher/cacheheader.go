package teacher

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// cacheTitle begins a cache file, and names the layout that follows.
const cacheTitle = "dither teacher cache 1\n"

// errNothingToKeep is for a teacher that takes no forward pass.
var errNothingToKeep = fmt.Errorf("%w has nothing to keep: the teacher is no network, but logits that were computed before; leave out --teacher-cache-file", ErrCacheFile)

// cacheHeader is all that the logits in a file are a function of, besides sample and view: lines of a key and a value, and zeros up to cacheHeaderBytes.
func cacheHeader(spec *ditherv1.RunSpec, set *dataloader.Set) ([]byte, error) {
	t, d := spec.GetTeacher(), spec.GetDataset()
	if t.GetModel() == nil {
		return nil, errNothingToKeep
	}
	var b bytes.Buffer
	b.WriteString(cacheTitle)
	for _, line := range [][2]string{
		{"teacher", t.GetSha256()},
		{"network", strings.TrimSpace(t.GetModel().GetName() + " " + t.GetModel().GetShortcut())},
		{"arithmetic", t.GetArithmetic()},
		{"images", fmt.Sprintf("%d of %s, %s", set.Train.N(), d.GetName(), d.GetTrainSha256())},
		{"shape", fmt.Sprintf("%d channels of %d x %d", d.GetChannels(), d.GetHeight(), d.GetWidth())},
		{"mean", strings.Trim(fmt.Sprint(d.GetMean()), "[]")},
		{"std", strings.Trim(fmt.Sprint(d.GetStd()), "[]")},
		{"views", viewsOf(spec, set).String()},
		{"classes", fmt.Sprint(d.GetClasses())},
	} {
		fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
	}
	if b.Len() >= cacheHeaderBytes {
		return nil, fmt.Errorf("%w: %w: a header of %d bytes is too long; %d are the most", ErrCacheFile, errNoRoom, b.Len(), cacheHeaderBytes-1)
	}
	return append(b.Bytes(), make([]byte, cacheHeaderBytes-b.Len())...), nil
}

// compareHeaders names the first difference.
func compareHeaders(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	lines := func(b []byte) []string { return strings.Split(string(bytes.TrimRight(b, "\x00")), "\n") }
	theirs, ours := lines(got), lines(want)
	if len(theirs) == len(ours) && theirs[0] == ours[0] {
		for i := range ours {
			key, is, _ := strings.Cut(ours[i], ": ")
			if was, ok := strings.CutPrefix(theirs[i], key+": "); ok && was != is {
				return fmt.Errorf("was made for %s %q, and this run has %q; give --teacher-cache-file another", key, was, is)
			}
		}
	}
	return fmt.Errorf("is not one that this dither made for this run (it begins with %.40q); give --teacher-cache-file another, or remove it", theirs[0])
}

// CheckCacheFile says whether a run may have this file as its teacher's cache: it has been made for such a run, or is not there yet. It changes nothing.
func CheckCacheFile(path string, spec *ditherv1.RunSpec, set *dataloader.Set) error {
	header, err := cacheHeader(spec, set)
	if errors.Is(err, errNoRoom) {
		return nil // the run will do without
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(path))
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w; give --teacher-cache-file another", ErrCacheFile, err)
	}
	defer f.Close()
	if err := checkHeader(f, header); err != nil {
		return fmt.Errorf("%w %s %w", ErrCacheFile, path, err)
	}
	return nil
}
