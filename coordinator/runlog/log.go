package runlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Log appends to the record of one run. Its methods may be called from any goroutine; one process at a time writes a run's record.
type Log struct {
	mu      sync.Mutex
	dir     string
	metrics *lines
	events  *lines
	curves  *tensorBoard
	last    uint32 // iteration of the last line of metrics
	now     func() time.Time
	follow  func(Line) // nil: nobody
}

// Create begins the record of a run in dir, which it makes. A folder that holds a run is ErrExists, and stays as it is.
func Create(dir string) (*Log, error) {
	for _, name := range []string{MetricsFile, EventsFile, ResultFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return nil, fmt.Errorf("folder %s %w (%s is there): give another folder, or resume that run", dir, ErrExists, name)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("making a run's folder: %w", err)
	}
	return open(dir, os.O_CREATE|os.O_EXCL)
}

// Append goes on with the record in dir. A last line that was cut short by a crash is removed; a result is kept as result.ITERATIONS.json, since the
// run is not over any more. A folder without a run is ErrNoRun.
func Append(dir string) (*Log, error) {
	l, err := open(dir, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s %w: %v", dir, ErrNoRun, err)
	}
	if err != nil {
		return nil, err
	}
	record, err := Read(dir)
	if err == nil && len(record.Iterations) > 0 {
		l.last = record.Iterations[len(record.Iterations)-1].Iteration
	}
	if err == nil && record.Result != nil {
		kept := fmt.Sprintf("result.%d.json", record.Result.Iterations)
		err = os.Rename(filepath.Join(dir, ResultFile), filepath.Join(dir, kept))
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func open(dir string, flag int) (l *Log, err error) {
	l = &Log{dir: dir, now: time.Now}
	defer func() {
		if err != nil {
			l.Close()
			l, err = nil, fmt.Errorf("opening the record of a run: %w", err)
		}
	}()
	if l.metrics, err = openLines(filepath.Join(dir, MetricsFile), flag); err != nil {
		return l, err
	}
	if l.events, err = openLines(filepath.Join(dir, EventsFile), flag); err != nil {
		return l, err
	}
	l.curves, err = newTensorBoard(filepath.Join(dir, TensorBoardFolder), l.now())
	return l, err
}

// Iteration appends an applied iteration. It must come after the last one (ErrOrder).
func (l *Log) Iteration(it Iteration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.iteration(it)
}

func (l *Log) iteration(it Iteration) error {
	if it.Iteration <= l.last {
		return fmt.Errorf("recording iteration %d after %d: %w", it.Iteration, l.last, ErrOrder)
	}
	if err := l.append(l.metrics, MetricsFile, it); err != nil {
		return err
	}
	l.last = it.Iteration
	return l.curves.write(l.now(), it.Iteration, []scalar{
		{"train/loss", it.Loss}, {"train/accuracy", it.Accuracy}, {"train/lr", it.LR}, {"train/images_per_second", it.ImagesPerSecond},
	})
}

// Event appends an event. Those that end something (a checkpoint, a result, a failure) are on disk when it returns, and all before them.
func (l *Log) Event(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.event(e)
}

func (l *Log) event(e Event) error {
	if e.Time.IsZero() {
		e.Time = l.now().UTC()
	}
	e.Loss, e.Accuracy, e.GradientNorm = finite(e.Loss), finite(e.Accuracy), finite(e.GradientNorm)
	if err := l.append(l.events, EventsFile, e); err != nil {
		return err
	}
	if e.Kind == KindEvaluation {
		split := e.Split
		if split == "" {
			split = "train"
		}
		var values []scalar
		for name, p := range map[string]*float64{"loss": e.Loss, "accuracy": e.Accuracy, "gradient_norm": e.GradientNorm} {
			if p != nil {
				values = append(values, scalar{split + "/" + name, *p})
			}
		}
		return l.curves.write(e.Time, e.Iteration, values)
	}
	if e.Kind == KindCheckpoint || e.Kind == KindResult || e.Kind == KindFailure {
		return l.sync()
	}
	return nil
}

// Rewind drops the iterations after the given one, from which a resumed run goes on; an event says so. Curves begin anew after it.
func (l *Log) Rewind(iteration uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	dropped, err := l.metrics.cutAfter(func(line []byte) bool {
		var it Iteration
		return json.Unmarshal(line, &it) == nil && it.Iteration > iteration
	})
	if err != nil || dropped == 0 {
		return err
	}
	l.last = iteration
	if err := l.curves.restart(l.now(), iteration+1); err != nil {
		return err
	}
	message := fmt.Sprintf("went back to iteration %d: %d iterations after it were dropped from the record and are done again", iteration, dropped)
	return l.event(Event{Kind: KindStatus, Message: message, Iteration: iteration})
}

func (l *Log) sync() error {
	if err := l.metrics.file.Sync(); err != nil {
		return fmt.Errorf("recording a run: %w", err)
	}
	if err := l.events.file.Sync(); err != nil {
		return fmt.Errorf("recording a run: %w", err)
	}
	return nil
}

// Close puts the record on disk. The log is of no use after it; a second Close does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range []*lines{l.metrics, l.events} {
		if s != nil && s.file != nil {
			errs = append(errs, s.file.Sync(), s.file.Close())
			s.file = nil
		}
	}
	if l.curves != nil && l.curves.file != nil {
		errs = append(errs, l.curves.file.Close())
		l.curves.file = nil
	}
	return errors.Join(errs...)
}

// lines is a file of JSON lines. Invariant: the file has size bytes, all of them whole lines.
type lines struct {
	file *os.File
	size int64
}

func openLines(path string, flag int) (*lines, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o666)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	s := &lines{f, int64(bytes.LastIndexByte(data, '\n') + 1)}
	if err == nil && s.size < int64(len(data)) {
		err = f.Truncate(s.size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// append writes one line. If the disk is full half of it may be there: it is taken away again, so that the record stays whole.
func (s *lines) append(b []byte) error {
	if s.file == nil {
		return fmt.Errorf("recording a run: %w", os.ErrClosed)
	}
	b = append(b, '\n')
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return errors.Join(fmt.Errorf("recording a run: %w", err), s.file.Truncate(s.size))
	}
	s.size += int64(len(b))
	return nil
}

// cutAfter ends the file before the first line for which beyond holds, and says how many lines that drops.
func (s *lines) cutAfter(beyond func(line []byte) bool) (dropped int, err error) {
	data := make([]byte, s.size)
	if _, err := s.file.ReadAt(data, 0); err != nil {
		return 0, fmt.Errorf("reading the record of a run: %w", err)
	}
	keep := int64(0)
	for line := range bytes.Lines(data) {
		if dropped > 0 || beyond(line) {
			dropped++
		} else {
			keep += int64(len(line))
		}
	}
	if dropped == 0 {
		return 0, nil
	}
	if err := s.file.Truncate(keep); err != nil {
		return 0, fmt.Errorf("cutting the record of a run: %w", err)
	}
	s.size = keep
	return dropped, s.file.Sync()
}
