package dataloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

var (
	// ErrDownload: a server did not give a whole file; what came is kept, and the next Get goes on from there.
	ErrDownload = errors.New("download failed")
	// ErrChecksum: a whole file came, and it is not the official one.
	ErrChecksum = errors.New("checksum differs")
)

// GetOptions may all be left zero.
type GetOptions struct {
	BaseURL  string                  // where the archives lie, instead of their official homes
	Client   *http.Client            // nil: http.DefaultClient
	Progress func(done, total int64) // bytes of the archive in hand, called often; total is -1 where the server does not say
}

// Get downloads a data set's official archives and lays their files out in dir. An archive is downloaded to a name of its own with ".part" at
// its end, going on where an earlier Get stopped, checked against its official md5 and only then unpacked; an archive that somebody put
// into dir is taken instead of the network. Files that are there and official are kept; one that is there and is not official is an error, never
// overwritten. Errors wrap ErrUnknown, ErrDownload, ErrChecksum or fs.ErrExist, or are the context's or the file system's.
func Get(ctx context.Context, set, dir string, o GetOptions) error {
	l, err := find(set)
	if err != nil {
		return err
	}
	return l.get(ctx, dir, o)
}

func (l *layout) get(ctx context.Context, dir string, o GetOptions) error {
	for _, a := range l.archives {
		whole, err := l.have(dir, a.File)
		if err != nil {
			return err
		}
		if whole {
			continue
		}
		if err := os.MkdirAll(filepath.Join(dir, l.folder), 0o777); err != nil {
			return err
		}
		if err := l.fetch(ctx, dir, a, o); err != nil {
			return fmt.Errorf("getting %s: %w", a.File, err)
		}
	}
	return nil
}

// have says whether all files of an archive are there; one that is not the official file is an error.
func (l *layout) have(dir, archive string) (bool, error) {
	whole := true
	for _, f := range l.files() {
		if f.archive != archive {
			continue
		}
		path := filepath.Join(dir, l.folder, f.name)
		sum, err := fileSum(path, f.algorithm())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			whole = false
		case err != nil:
			return false, err
		case sum != f.checksum:
			return false, fmt.Errorf("%w: %s is there and is not the official file: move it away, or get the data into another folder", fs.ErrExist, path)
		}
	}
	return whole, nil
}

// fetch downloads, verifies and lays out one archive.
func (l *layout) fetch(ctx context.Context, dir string, a Archive, o GetOptions) error {
	given := filepath.Join(dir, a.File) // put there by somebody, who keeps it
	part := given + ".part"
	if sum, err := fileSum(given, "md5"); err == nil && sum == "md5:"+a.MD5 && l.packed(a) {
		return l.unpack(given, dir)
	}
	url := a.URL
	if o.BaseURL != "" {
		url = strings.TrimSuffix(o.BaseURL, "/") + "/" + a.File
	}
	if err := download(ctx, url, part, o); err != nil {
		return err
	}
	sum, err := fileSum(part, "md5")
	if err != nil {
		return err
	}
	if sum != "md5:"+a.MD5 {
		// Kept, it would be taken for the beginning of the next download.
		if err := os.Remove(part); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s has %s, officially md5:%s: what was downloaded is deleted; try again, or another server", ErrChecksum, url, sum, a.MD5)
	}
	if !l.packed(a) {
		return os.Rename(part, filepath.Join(dir, l.folder, a.File))
	}
	if err := l.unpack(part, dir); err != nil {
		return err
	}
	return os.Remove(part)
}

// packed: an archive that is not itself one of the set's files.
func (l *layout) packed(a Archive) bool { return strings.HasSuffix(a.File, ".tar.gz") }

// resumptions bounds how often one Get goes on after a cut connection; each must have brought something.
const resumptions = 20

// download makes path the whole content of url, going on from what is there.
func download(ctx context.Context, url, path string, o GetOptions) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	for try := 0; ; try++ {
		start, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		err = transfer(ctx, url, f, start, o)
		if err == nil {
			break
		}
		end, serr := f.Seek(0, io.SeekEnd)
		if ctx.Err() != nil || serr != nil || end <= start || try == resumptions || !errors.Is(err, errCut) {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

var errCut = errors.New("the connection was cut")

// transfer asks for url from byte start on and writes what comes to f, which holds the bytes before.
func transfer(ctx context.Context, url string, f *os.File, start int64, o GetOptions) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity") // the archive's own bytes, never decompressed on the way
	if start > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", start))
	}
	client := o.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w: is there a way to the network, or another server to name?", ErrDownload, err)
	}
	defer res.Body.Close()
	total := int64(-1)
	switch from, whole, ok := contentRange(res.Header.Get("Content-Range")); {
	case res.StatusCode == http.StatusPartialContent && ok && from == start:
		total = whole
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && ok && whole == start:
		return nil // all of it was there
	case res.StatusCode == http.StatusOK, res.StatusCode == http.StatusRequestedRangeNotSatisfiable && start > 0:
		// The server sends all of it whatever was asked for, or has less than we do: begin again.
		if err := f.Truncate(0); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return transfer(ctx, url, f, 0, o)
		}
		start, total = 0, res.ContentLength
	default:
		return fmt.Errorf("%w: %s answered %s: check the address, or name another server", ErrDownload, url, res.Status)
	}
	w := &counted{f: f, done: start, total: total, report: o.Progress}
	_, err = io.Copy(w, res.Body)
	switch {
	case err == nil && (total < 0 || w.done == total):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case w.err != nil:
		return w.err
	default:
		return fmt.Errorf("%w: %w after %d of %d bytes of %s: run the same again to go on from there", ErrDownload, errCut, w.done, total, url)
	}
}

// contentRange parses "bytes A-B/TOTAL" and "bytes */TOTAL"; TOTAL may be "*", here -1.
func contentRange(s string) (from, total int64, ok bool) {
	var to int64
	if n, _ := fmt.Sscanf(s, "bytes %d-%d/%d", &from, &to, &total); n == 3 {
		return from, total, true
	} else if n == 2 && strings.HasSuffix(s, "/*") {
		return from, -1, true
	}
	n, _ := fmt.Sscanf(s, "bytes */%d", &total)
	return 0, total, n == 1
}

// counted writes to f and reports progress; err keeps apart what the file system did from what the network did.
type counted struct {
	f           *os.File
	done, total int64
	report      func(done, total int64)
	err         error
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.f.Write(p)
	c.done += int64(n)
	c.err = err
	if c.report != nil {
		c.report(c.done, c.total)
	}
	return n, err
}

// fileSum is the checksum of a file, as in file.checksum.
func fileSum(path, algorithm string) (string, error) {
	s, err := openSource(path, algorithm)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return s.checksum(algorithm)
}
