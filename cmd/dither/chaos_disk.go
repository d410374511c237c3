package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/dither-ml/dither/cmd/dither/chaos"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// diskWait is how long a run may take to fail on a full disk, and its roles to end with it.
const diskWait = 10 * time.Second

// fillDisk lets the coordinators' disk be full until the run has failed of it, and then resumes the run.
func (p *play) fillDisk(ctx context.Context) {
	failed := make(chan struct{})
	p.mu.Lock()
	p.filled = &fullDisk{failed: failed, resumed: make(chan struct{})}
	p.mu.Unlock()
	if err := p.stage.fillDisk(); err != nil {
		p.stage.problem(err.Error())
		return
	}
	select {
	case <-failed:
	case <-time.After(diskWait): // no record may have been due
	case <-ctx.Done():
		return
	}
	if err := p.stage.resume(ctx); err != nil && ctx.Err() == nil {
		p.stage.problem(fmt.Sprintf("the run cannot be resumed after a full disk: %v", err))
	}
	close(p.filled.resumed)
}

// fullDisk is where such a fault stands.
type fullDisk struct{ failed, resumed chan struct{} }

// onFullDisk says whether a result is that of a run whose disk is full, and waits until it is resumed.
func (p *play) onFullDisk(ctx context.Context, r *ditherv1.RunResult) bool {
	p.mu.Lock()
	f := p.filled
	p.mu.Unlock()
	if f == nil || r.GetPhase() != "failed" {
		return false
	}
	select {
	case <-f.resumed: // it failed once more
		return false
	default:
	}
	close(f.failed)
	select {
	case <-f.resumed:
		return true
	case <-ctx.Done():
		return false
	}
}

// fillDisk makes the disk full for every coordinator that is there.
func (s *stage) fillDisk() error {
	s.mu.Lock()
	s.full = true
	s.mu.Unlock()
	for _, a := range s.of("coordinator") {
		s.mu.Lock()
		k := a.child
		s.mu.Unlock()
		if k.gone() {
			continue
		}
		if err := chaos.FillDisk(k.cmd.Process.Pid); err != nil && !k.gone() {
			return fmt.Errorf("filling the disk of %s: %w", a.place, err)
		}
	}
	return nil
}

// resume ends every process but etcd, and begins the run again from its newest checkpoint.
func (s *stage) resume(ctx context.Context) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	for _, kind := range roles {
		for _, a := range s.of(kind) {
			s.signal(a.place, syscall.SIGKILL, true)
			s.mu.Lock()
			k := a.child
			s.mu.Unlock()
			select {
			case <-k.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	s.mu.Lock()
	s.resuming, s.full = true, false
	s.mu.Unlock()
	err := s.bringAll(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resuming = false
	return err
}
