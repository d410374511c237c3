package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// tries is how often a run is begun that fails for a reason which may not be its own.
const tries = 2

// readOutcomes says where every run stands.
func (s *sweep) readOutcomes() (err error) {
	if s.dir == "" || s.untrained() {
		s.outcomes = make([]study.Outcome, len(s.runs))
		for i, r := range s.runs {
			s.outcomes[i] = study.Outcome{Run: r, State: study.Missing}
		}
		return nil
	}
	s.outcomes, s.unmatched, err = study.Read(s.dir, s.runs)
	return err
}

// mine says whether a run is of this process's part. The phases of a setting stay together: they cost differently, and parts should not.
func (s *sweep) mine(i int) bool {
	phases := 2
	if s.spec.Validation == 0 {
		phases = 1
	}
	return i/phases%s.part.of == s.part.index
}

func isOver(o study.Outcome) bool { return o.State == study.Finished || o.State == study.Diverged }

// pending are the runs of this part that are not over, by index.
func (s *sweep) pending() (indices []int) {
	for i, o := range s.outcomes {
		if s.mine(i) && !isOver(o) {
			indices = append(indices, i)
		}
	}
	return indices
}

// parallel is how many runs go on side by side.
func (s *sweep) parallel(processors int) int {
	if n := int(s.flags.parallel); n > 0 {
		return n
	}
	return max(1, processors/int(s.flags.run.crew.children))
}

// runFlags are those of one run beside others.
func (s *sweep) runFlags(processors int) *runFlags {
	f := *s.flags.run
	if f.threads == 0 {
		f.threads = uint32(max(1, processors/(s.parallel(processors)*int(f.crew.children))))
	}
	f.cacheFile = s.cacheFile()
	return &f
}

// cacheFile is where the runs keep the teacher's logits together: what one has computed, no other does again. "": there is nothing to compute.
func (s *sweep) cacheFile() string {
	t := s.spec.GetBase().GetTeacher()
	if t.GetModel() == nil || s.dir == "" || s.untrained() {
		return ""
	}
	return filepath.Join(s.dir, fmt.Sprintf("teacher-%.12s-%s.logits", t.GetSha256(), t.GetView()))
}

// all does the runs of this part, several side by side. A run that diverges or fails does not stop the others; failures says in words which failed.
func (s *sweep) all(ctx context.Context) (failures []string, err error) {
	pending := s.pending()
	if len(pending) == 0 {
		return nil, s.tables()
	}
	s.show = newShow(s, pending)
	defer s.show.done()
	flags := s.runFlags(processors())
	queue := &backlog{first: pending}
	var workers sync.WaitGroup
	for range min(s.parallel(processors()), len(pending)) {
		workers.Go(func() {
			for {
				i, patient, ok := queue.next()
				if !ok || ctx.Err() != nil {
					return
				}
				why := s.one(ctx, flags, i, patient)
				if ctx.Err() != nil && !isOver(s.outcome(i)) {
					return
				}
				if errors.Is(why, errBusy) && !patient {
					queue.putOff(i)
					continue
				}
				s.settled(i, why)
			}
		})
	}
	workers.Wait()
	return s.failures, s.broken
}

// backlog is the runs that are to be done. Those that another process is at are put off: it may be what is left of a sweep that was killed, and will be gone in a moment.
type backlog struct {
	mu           sync.Mutex
	first, later []int // indices of runs
}

// next is a run to do; patient says that there is nothing better to do than to wait for it.
func (b *backlog) next() (i int, patient, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := &b.first
	if len(b.first) == 0 {
		from, patient = &b.later, true
	}
	if len(*from) == 0 {
		return 0, false, false
	}
	i, *from = (*from)[0], (*from)[1:]
	return i, patient, true
}

func (b *backlog) putOff(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.later = append(b.later, i)
}

// one takes a run to its end, and says why it has none; errBusy: another process is at it.
func (s *sweep) one(ctx context.Context, flags *runFlags, i int, patient bool) (err error) {
	dir := filepath.Join(s.dir, s.runs[i].Folder)
	take := lockFile
	if patient {
		take = func(path string) (*os.File, error) { return waitLock(ctx, path) }
	}
	lock, err := take(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer lock.Close()
	for range tries {
		// Another part, or another sweep in the same folder, may have done it meanwhile.
		if err = s.reread(i); err != nil || isOver(s.outcome(i)) {
			return err
		}
		began := time.Now()
		err = s.attempt(ctx, flags, i, dir, lock)
		s.show.took(i, time.Since(began))
		if again := s.reread(i); again != nil {
			return again
		}
		if isOver(s.outcome(i)) {
			lonely(dir)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if err == nil { // finished, and yet study.Read misses something: it says what
			err = errors.New(s.outcome(i).Reason)
		}
		if exitCode(err) == exitUsage {
			return err
		}
		// What it left may be what it fails of: the next try goes on from its last checkpoint, if there is one.
	}
	return err
}

// attempt executes a run once. What it would say on the screen goes into its folder.
func (s *sweep) attempt(ctx context.Context, flags *runFlags, i int, dir string, lock *os.File) error {
	r := s.runs[i]
	command := []string{"dither", "sweep", "--resume", s.dir}
	f, resumed, err := s.prepare(dir, r.Spec, s.options(r.Spec.Iterations, r.GradientNormImages, command))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.path("logs"), 0o755); err != nil {
		return err
	}
	said, err := os.OpenFile(f.path(filepath.Join("logs", "run.log")), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer said.Close()
	out := &console{out: said}
	quiet := &app{stdout: io.Discard, stderr: out, log: slog.New(slog.NewTextHandler(out, nil))}
	j := &job{app: quiet, flags: flags, interrupted: ctx, folder: f, ofStudy: true, lock: lock, seen: func(e *ditherv1.WatchResponse) { s.show.event(i, e) }}
	return j.complete(resumed, nil)
}

// reread looks at one run again.
func (s *sweep) reread(i int) error {
	o, _, err := study.Read(s.dir, s.runs[i:i+1])
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[i] = o[0]
	return nil
}

func (s *sweep) outcome(i int) study.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcomes[i]
}

// settled notes what came of a run, and writes the tables anew.
func (s *sweep) settled(i int, why error) {
	s.show.settled(i, s.outcome(i), why)
	s.mu.Lock()
	switch {
	case errors.Is(why, errBusy):
		s.elsewhere++
	case why != nil:
		s.outcomes[i].State, s.outcomes[i].Reason = study.Failed, why.Error()
		s.failures = append(s.failures, fmt.Sprintf("%s (%s): %s", describe(s.spec, s.runs[i]), s.runs[i].Folder, sentence(why)))
	}
	s.mu.Unlock()
	if err := s.tables(); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = err
	}
}
