package runlog

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Record is all that a run's folder says.
type Record struct {
	Iterations []Iteration
	Events     []Event
	Result     *Result // nil: the run is not over
	// Unknown names the lines that are no records: "metrics.jsonl line 7: ...". A last line that was cut short is none of them.
	Unknown []string
}

// Read reads the record of the run in dir, which may be going on. A folder without one is ErrNoRun.
func Read(dir string) (*Record, error) {
	r := &Record{}
	read := func(name string, take func(line []byte) error) error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("folder %s %w: %s is not there", dir, ErrNoRun, name)
		}
		if err != nil {
			return fmt.Errorf("reading the record of a run: %w", err)
		}
		n := 0
		for line := range bytes.Lines(data) {
			n++
			if !bytes.HasSuffix(line, []byte("\n")) {
				break
			}
			if err := take(line); err != nil {
				r.Unknown = append(r.Unknown, fmt.Sprintf("%s line %d: %v", name, n, err))
			}
		}
		return nil
	}
	err := read(MetricsFile, func(line []byte) error {
		var it Iteration
		if err := json.Unmarshal(line, &it); err != nil {
			return err
		}
		if it.Iteration == 0 {
			return errors.New("it has no iteration")
		}
		r.Iterations = append(r.Iterations, it)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = read(EventsFile, func(line []byte) error {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		switch e.Kind {
		case KindStatus, KindEvaluation, KindCheckpoint, KindGeneration, KindResult, KindFailure:
			r.Events = append(r.Events, e)
			return nil
		}
		return fmt.Errorf("%q is no kind of event", e.Kind)
	})
	if err != nil {
		return nil, err
	}
	result, err := ReadResult(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r.Result = result
	return r, nil
}

// WriteResult writes result.json, whole or not at all. Numbers that are none (a NaN) are null.
func WriteResult(dir string, r Result) error {
	for _, p := range []**float64{&r.TrainLoss, &r.ValidationAccuracy, &r.TestAccuracy, &r.TestLoss, &r.TeacherTestAccuracy, &r.GradientNorm, &r.TeacherGradientNorm} {
		*p = finite(*p)
	}
	if r.KernelSets == nil {
		r.KernelSets = []string{}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing a run's result: %w", err)
	}
	return WriteFile(filepath.Join(dir, ResultFile), append(b, '\n'))
}

// ReadResult is the way back; a run that is not over has none (fs.ErrNotExist).
func ReadResult(dir string) (*Result, error) {
	b, err := os.ReadFile(filepath.Join(dir, ResultFile))
	if err != nil {
		return nil, fmt.Errorf("reading a run's result: %w", err)
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(dir, ResultFile), err)
	}
	return &r, nil
}

// WriteFile gives path the bytes of data, whole or not at all: written aside, synced, renamed, the folder synced.
func WriteFile(path string, data []byte) (err error) {
	aside := path + ".writing-" + rand.Text()[:8]
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		os.Remove(aside)
		return fmt.Errorf("writing %s: %w (what was there before is untouched)", path, err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer d.Close()
	return d.Sync()
}
