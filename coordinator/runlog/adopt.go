package runlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Line is a line of metrics.jsonl or events.jsonl.
type Line struct {
	File string // MetricsFile or EventsFile
	Text []byte // JSON, without the newline
}

// Follow calls f with every line that is appended from now on, in order. The text is f's to keep.
func (l *Log) Follow(f func(Line)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow = f
}

// append writes one line of a file, and shows it to who follows.
func (l *Log) append(to *lines, file string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("recording a run: %w", err)
	}
	text := bytes.Clone(b)
	if err := to.append(b); err != nil {
		return err
	}
	if l.follow != nil {
		l.follow(Line{file, text})
	}
	return nil
}

// Lines are all that there are, file by file.
func (l *Log) Lines() ([]Line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines()
}

func (l *Log) lines() (all []Line, err error) {
	for _, name := range []string{MetricsFile, EventsFile} {
		data, err := os.ReadFile(filepath.Join(l.dir, name))
		if err != nil {
			return nil, fmt.Errorf("reading the record of a run: %w", err)
		}
		for line := range bytes.Lines(data) {
			all = append(all, Line{name, bytes.TrimSuffix(line, []byte("\n"))})
		}
	}
	return all, nil
}

// Adopt appends what another writer of this run's record has and this one lacks: iterations after the last one here, and events that are not here.
// A line that is none is an error.
func (l *Log) Adopt(theirs []Line) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ours, err := l.lines()
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, line := range ours {
		here[string(line.Text)] = true
	}
	for _, line := range theirs {
		if here[string(line.Text)] {
			continue
		}
		here[string(line.Text)] = true
		var it Iteration
		var e Event
		switch line.File {
		case MetricsFile:
			if err = json.Unmarshal(line.Text, &it); err == nil && it.Iteration > l.last {
				err = l.iteration(it)
			}
		default:
			if err = json.Unmarshal(line.Text, &e); err == nil {
				err = l.event(e)
			}
		}
		if err != nil {
			return fmt.Errorf("taking over the record of a run: %w", err)
		}
	}
	return nil
}
