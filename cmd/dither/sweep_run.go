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
	return &f
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
	queue := make(chan int, len(pending))
	for _, i := range pending {
		queue <- i
	}
	close(queue)
	var workers sync.WaitGroup
	for range min(s.parallel(processors()), len(pending)) {
		workers.Go(func() {
			for i := range queue {
				if ctx.Err() != nil {
					return
				}
				why := s.one(ctx, flags, i)
				if ctx.Err() != nil && exitCode(why) == exitStopped {
					return
				}
				s.settled(i, why)
			}
		})
	}
	workers.Wait()
	return s.failures, s.broken
}

// one takes a run to its end, and says why it has none.
func (s *sweep) one(ctx context.Context, flags *runFlags, i int) (err error) {
	r := s.runs[i]
	dir := filepath.Join(s.dir, r.Folder)
	lock, err := waitLock(ctx, filepath.Join(dir, lockName))
	if errors.Is(err, errBusy) {
		return errElsewhere
	}
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

// errElsewhere: another process is at this run.
var errElsewhere = errors.New("another process is doing it")

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
	case errors.Is(why, errElsewhere):
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
