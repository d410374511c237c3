package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// readStability gives the entries of a file of --stability, as they are written there; none where there is no file.
func readStability(path string) ([]json.RawMessage, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(path))
		text = []byte("[]")
	}
	if err != nil {
		return nil, badInputf("--stability: %w", err)
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil || entries == nil {
		return nil, badInputf("--stability %s is not an array of networks in JSON; give another file, or remove it", path)
	}
	for i, e := range entries {
		if _, err := entryName(e); err != nil {
			return nil, badInputf("--stability %s: entry %d is no network; give another file, or remove it", path, i+1)
		}
	}
	return entries, nil
}

func entryName(entry json.RawMessage) (string, error) {
	var e struct {
		Name *string `json:"name"`
	}
	if err := json.Unmarshal(entry, &e); err != nil {
		return "", err
	}
	if e.Name == nil {
		return "", errors.New("no name")
	}
	return *e.Name, nil
}

// putStability adds an entry to the file, in place of one of its name; the others stay as they are. It says whether there was one.
func putStability(path string, entry stabilityEntry) (replaced bool, err error) {
	// Several may measure at once and put their results into one file.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return false, badInputf("--stability: %w", err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return false, fmt.Errorf("--stability: locking %s: %w", dir.Name(), err)
	}
	entries, err := readStability(path)
	if err != nil {
		return false, err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(entry); err != nil {
		return false, err
	}
	ours := bytes.TrimSpace(text.Bytes())
	for i, e := range entries {
		if name, _ := entryName(e); name == entry.Name {
			entries[i], replaced = ours, true
		}
	}
	if !replaced {
		entries = append(entries, ours)
	}
	out := []byte("[\n")
	for i, e := range entries {
		if i > 0 {
			out = append(out, ",\n"...)
		}
		out = append(out, e...)
	}
	if err := replaceFile(path, append(out, "\n]\n"...)); err != nil {
		return false, fmt.Errorf("--stability: %w", err)
	}
	return replaced, nil
}
