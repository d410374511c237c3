package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	lockName = "lock"       // in a run's folder, and in a study's: held while somebody works there
	lockWait = 3 * parting  // for the roles of an execution that was killed to leave
	lockAsk  = parting / 50 // between two tries
)

// errBusy: somebody else has the lock.
var errBusy = errors.New("another process has the lock")

// lockFile takes the lock on a file, for as long as it or a child that inherited it has the file open. The kernel gives it back however a process ends. errBusy: somebody has it.
func lockFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return locked(f)
}

// locked takes the lock on an open file; it is closed where that fails.
func locked(f *os.File) (*os.File, error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errBusy
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}

// waitLock waits for a lock for a while: the roles of a run whose parent was killed leave within parting, and must not write beside those of the next execution.
func waitLock(ctx context.Context, path string) (*os.File, error) {
	for deadline := time.Now().Add(lockWait); ; {
		f, err := lockFile(path)
		if !errors.Is(err, errBusy) || time.Now().After(deadline) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockAsk):
		}
	}
}
