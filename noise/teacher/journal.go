package teacher

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// ErrJournal is wrapped where an answer cannot be kept, and so must not be given: the disk is full, or gone.
var ErrJournal = errors.New("the journal of the noise's answers")

const (
	lockName    = "lock"
	answersName = "answers-%08d" // in the order in which they were written
	answersGlob = "answers-????????"
	fileBytes   = 16 << 20 // after which another file is begun; whole files are dropped
)

// Journal keeps the answers of a noise that is not replayable on disk, until a checkpoint covers them. One process at a time has it.
type Journal struct {
	dir     string
	classes int
	lock    *os.File
	write   func(f *os.File, b []byte, at int64) error // and sync; tests fill the disk here

	mu      sync.Mutex
	files   []*answers         // ascending by number; only the last may be written to
	current *answers           // nil: the next answer begins a file
	next    int                // number of the next file
	index   map[question]place // what is known
}

// place is where an answer is.
type place struct {
	file   *answers
	record int64
}

// OpenJournal takes hold of the folder, which it makes, and reads what is there. What a crash left half written at the end of a file is cut off. The
// error says who has the folder, if that is it.
func OpenJournal(dir string, classes int, log *slog.Logger) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	j := &Journal{dir: dir, classes: classes, write: writeSynced, index: map[question]place{}}
	if err := j.hold(); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(dir, answersGlob))
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	slices.Sort(paths)
	for _, path := range paths {
		if err := j.readBack(path, log); err != nil {
			return nil, errors.Join(fmt.Errorf("%w %s: %w", ErrJournal, dir, err), j.Close())
		}
	}
	return j, nil
}

// hold takes the lock, which the system lets go when the process ends, however it does.
func (j *Journal) hold() error {
	f, err := os.OpenFile(filepath.Join(j.dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who, _ := os.ReadFile(f.Name())
		f.Close()
		return fmt.Errorf("%w in %s is held by another teacher-logit service (%s): of a noise that is not replayable only one may give the answers; leave it to that one, or stop it first", ErrJournal, j.dir, who)
	}
	host, _ := os.Hostname()
	if err := errors.Join(f.Truncate(0), writeSynced(f, fmt.Appendf(nil, "%s:%d", host, os.Getpid()), 0)); err != nil {
		f.Close()
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	j.lock = f
	return nil
}

// readBack takes over the answers of one file; of two to a question the later one was given.
func (j *Journal) readBack(path string, log *slog.Logger) error {
	if _, err := fmt.Sscanf(filepath.Base(path), answersName, &j.next); err != nil {
		return nil // not ours
	}
	j.next++
	a, questions, torn, err := openAnswers(path, j.classes)
	if err != nil {
		return err
	}
	if torn > 0 {
		log.Warn("the end of a journal's file was half written, and is cut off", "file", path, "bytes", torn)
	}
	if a.records == 0 {
		return errors.Join(a.f.Close(), os.Remove(path))
	}
	j.files = append(j.files, a)
	for i, q := range questions {
		j.index[q] = place{a, int64(i)}
	}
	return nil
}

func (j *Journal) has(q question) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, there := j.index[q]
	return there
}

// read writes the answer to q, which is known, to row. The error wraps ErrJournal where the answer was dropped since, and not where the disk has lost it.
func (j *Journal) read(q question, row []float32) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, there := j.index[q]
	if !there {
		return fmt.Errorf("%w %s: the answer about iteration %d, sample %d was dropped, as a checkpoint covers it", ErrJournal, j.dir, q.iteration, q.sample)
	}
	got, err := p.file.read(p.record, row)
	if err == nil && got != q {
		err = errors.New("the disk gives back other bytes than were written")
	}
	if err != nil {
		return fmt.Errorf("the answer about iteration %d, sample %d cannot be read back from the journal's file %s: %w", q.iteration, q.sample, p.file.f.Name(), err)
	}
	return nil
}

// add keeps the answers, rows [len(questions)][classes]; after an error it has none of them.
func (j *Journal) add(questions []question, rows []float32) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(questions, rows); err != nil {
		what := "see to the folder"
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			what = "free some space"
		}
		return fmt.Errorf("%w in %s cannot take those of iteration %d: %w; %s: they are asked for again until it can", ErrJournal, j.dir, questions[0].iteration, err, what)
	}
	for i, q := range questions {
		j.index[q] = place{j.current, j.current.records - int64(len(questions)-i)}
	}
	if j.current.bytes() >= fileBytes {
		j.current = nil
	}
	return nil
}

func (j *Journal) append(questions []question, rows []float32) error {
	if j.current == nil {
		a, err := createAnswers(filepath.Join(j.dir, fmt.Sprintf(answersName, j.next)), j.classes, j.write)
		if err != nil {
			return err
		}
		j.next++
		j.files, j.current = append(j.files, a), a
	}
	err := j.write(j.current.f, j.current.encode(questions, rows), j.current.bytes())
	if err == nil {
		j.current.count(questions)
		return nil
	}
	// What was written in part must not be read back as if it had been given.
	if cut := j.current.f.Truncate(j.current.bytes()); cut != nil {
		j.current = nil
	}
	return err
}

// Drop lets answers go that a checkpoint after iteration covered has made superfluous: those of earlier iterations. Its own are kept, for trainers that have not applied it
// may do so yet; and so are those of a noise that is drawn once a run.
func (j *Journal) Drop(covered uint32) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.drop(func(a *answers) bool { return a.greatest < covered })
}

// Forget lets all answers go, and the folder with them: the run has ended as it should, and nobody asks any more.
func (j *Journal) Forget() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.drop(func(*answers) bool { return true }), os.Remove(j.lock.Name()), os.Remove(j.dir))
}

func (j *Journal) drop(gone func(*answers) bool) error {
	var failed error
	j.files = slices.DeleteFunc(j.files, func(a *answers) bool {
		if !gone(a) {
			return false
		}
		if a == j.current {
			j.current = nil
		}
		maps.DeleteFunc(j.index, func(_ question, p place) bool { return p.file == a })
		failed = errors.Join(failed, a.f.Close(), os.Remove(a.f.Name()))
		return true
	})
	return failed
}

// Close lets the folder go.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	for _, a := range j.files {
		err = errors.Join(err, a.f.Close())
	}
	j.files, j.current, j.index = nil, nil, nil
	return errors.Join(err, j.lock.Close())
}

// greatestOf is the iteration up to which a file is needed: for ever where it has an answer that holds for the whole run.
func greatestOf(before uint32, q question) uint32 {
	if q.iteration == 0 {
		return math.MaxUint32
	}
	return max(before, q.iteration)
}
