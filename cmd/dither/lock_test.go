package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestLockIsHeldByChildrenToo: what is left of a run whose parent was killed keeps the next execution out until it is gone.
func TestLockIsHeldByChildrenToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", lockName)
	lock, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path); !errors.Is(err, errBusy) {
		t.Fatalf("a second lock: %v, want %v", err, errBusy)
	}
	child := exec.Command("cat") // until its standard input ends
	child.ExtraFiles = []*os.File{lock}
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close() // as the kernel does for a parent that was killed
	if _, err := lockFile(path); !errors.Is(err, errBusy) {
		t.Fatalf("while a child lives: %v, want %v", err, errBusy)
	}
	interrupted, cancel := context.WithCancelCause(context.Background())
	cancel(errInterrupted)
	if _, err := waitLock(interrupted, path); !errors.Is(err, errInterrupted) {
		t.Fatalf("waiting when interrupted: %v", err)
	}
	hold.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	again, err := waitLock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
