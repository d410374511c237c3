package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
)

const (
	batchEvery  = time.Second
	batchBytes  = 512 << 10 // of one batch; etcd takes up to 1.5 MB
	mostWaiting = 64 << 20  // bytes that wait for an etcd that does not answer
)

// journal leaves the lines of the run's record in etcd, at most once a second a batch, for a leader whose disk does not have them.
type journal struct {
	found []runlog.Line // what earlier leaders left
	there map[string]bool

	mu      sync.Mutex
	waiting []runlog.Line
	bytes   int
	dropped int
	next    uint64        // number of the next batch
	more    chan struct{} // capacity 1: there is something to write
}

// logBatch is how lines lie in etcd.
type logBatch struct {
	Metrics []json.RawMessage `json:"metrics,omitempty"`
	Events  []json.RawMessage `json:"events,omitempty"`
}

// newJournal goes on after the batches that are there. One that cannot be read is as if it was not.
func newJournal(papers []membership.Paper) *journal {
	j := &journal{there: map[string]bool{}, next: 1, more: make(chan struct{}, 1)}
	for _, p := range papers {
		var n uint64
		var b logBatch
		if _, err := fmt.Sscanf(strings.TrimPrefix(p.Name, paperLog), "%d", &n); err != nil || json.Unmarshal(p.Value, &b) != nil {
			continue
		}
		j.next = max(j.next, n+1)
		for _, text := range b.Metrics {
			j.found = append(j.found, runlog.Line{File: runlog.MetricsFile, Text: text})
		}
		for _, text := range b.Events {
			j.found = append(j.found, runlog.Line{File: runlog.EventsFile, Text: text})
		}
	}
	for _, line := range j.found {
		j.there[string(line.Text)] = true
	}
	return j
}

// seed has the lines written that etcd lacks.
func (j *journal) seed(lines []runlog.Line) {
	for _, line := range lines {
		if !j.there[string(line.Text)] {
			j.add(line)
		}
	}
	j.found, j.there = nil, nil
}

// add has a line written. Nobody waits for it; where etcd does not answer for long, the oldest lines are let go.
func (j *journal) add(line runlog.Line) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting = append(j.waiting, line)
	j.bytes += len(line.Text)
	for j.bytes > mostWaiting {
		j.bytes -= len(j.waiting[0].Text)
		j.waiting = j.waiting[1:]
		j.dropped++
	}
	select {
	case j.more <- struct{}{}:
	default:
	}
}

// take puts the lines of the next batch together; it says how many there are, and whether there are more.
func (j *journal) take() (name string, value []byte, lines int, more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b logBatch
	size := 0
	for _, line := range j.waiting {
		if size += len(line.Text); lines > 0 && size > batchBytes {
			break
		}
		lines++
		if line.File == runlog.MetricsFile {
			b.Metrics = append(b.Metrics, line.Text)
		} else {
			b.Events = append(b.Events, line.Text)
		}
	}
	value, _ = json.Marshal(b) // lines are JSON
	return fmt.Sprintf("%s%08d", paperLog, j.next), value, lines, lines < len(j.waiting)
}

// written lets the lines of a batch go, as many as are still there.
func (j *journal) written(lines, droppedBefore int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for range max(0, lines-(j.dropped-droppedBefore)) {
		j.bytes -= len(j.waiting[0].Text)
		j.waiting = j.waiting[1:]
	}
	j.next++
}

// run writes batches until the context ends.
func (j *journal) run(ctx context.Context, t *term) {
	for {
		select {
		case <-j.more:
		case <-ctx.Done():
			return
		}
		for more := true; more && ctx.Err() == nil; {
			j.mu.Lock()
			dropped := j.dropped
			j.mu.Unlock()
			name, value, lines, rest := j.take()
			if lines == 0 {
				break
			}
			bound, cancel := context.WithTimeout(ctx, writeTimeout)
			err := t.registry.PutPaper(bound, t.lead, name, value)
			cancel()
			switch {
			case err == nil:
				j.written(lines, dropped)
				t.note("log", "")
				more = rest
				if more {
					continue
				}
			case errors.Is(err, membership.ErrDeposed):
				t.depose(fmt.Sprintf("another coordinator leads run %q now", t.config.Run))
				return
			case ctx.Err() == nil: // the same batch is written again
				t.note("log", fmt.Sprintf("the record of the run waits for etcd, training does not: %v", err))
			}
			select {
			case <-time.After(batchEvery):
			case <-ctx.Done():
			}
		}
	}
}
