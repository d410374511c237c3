package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dither-ml/dither/coordinator/runlog"
)

func TestFates(t *testing.T) {
	for code, want := range map[int]fate{exitOK: rests, exitStopped: rests, -1: returns, exitTemporary: returns, exitFailed: fails, exitUsage: fails, exitInterrupted: fails} {
		if got := fateOf(code); got != want {
			t.Errorf("a child that ends with %d has fate %d, want %d", code, got, want)
		}
	}
}

func TestRestartsAreBounded(t *testing.T) {
	var r restarts
	at := time.Unix(0, 0)
	for i := range restartsAtMost {
		if !r.again(at.Add(time.Duration(i) * time.Second)) {
			t.Fatalf("restart %d is refused", i+1)
		}
	}
	if r.again(at.Add(restartsWithin - time.Millisecond)) {
		t.Error("one more within the minute is allowed")
	}
	// The first is forgotten, and makes room for one.
	if !r.again(at.Add(restartsWithin)) || r.again(at.Add(restartsWithin)) {
		t.Error("a minute after the first, one is to be allowed and not two")
	}
}

func TestWhatARunCannotDoWithout(t *testing.T) {
	trainer, teacher := &role{name: "trainer-0", kind: "trainer"}, &role{name: "teacher", kind: "teacher"}
	c := newCrew("", func(string) {})
	if c.beyondRepair(3, 1) || c.firstFailure() != nil {
		t.Error("a whole crew is beyond repair")
	}
	why := badInputf("the disk is missing")
	c.fail(trainer, why)
	if c.beyondRepair(3, 2) {
		t.Error("two of three trainers are left, and two suffice")
	}
	if !c.beyondRepair(3, 3) {
		t.Error("two of three trainers are left, and three are needed")
	}
	c.fail(teacher, errEnding)
	if !c.beyondRepair(3, 1) {
		t.Error("there is no teacher")
	}
	if c.firstFailure() != why {
		t.Errorf("the first failure is %v", c.firstFailure())
	}
}

// A coordinator left, and what it had to say of the run's end did not come through: that is in the run's folder, or in its log.
func TestAnEndThatWasNotHeard(t *testing.T) {
	dir := t.TempDir()
	e := &execution{job: &job{folder: &folder{dir: dir}}, crew: newCrew(dir, func(string) {})}
	ended := func(kind string) *child {
		k := &child{role: kind, kind: kind, cmd: exec.Command("sh", "-c", "exit 75"), log: filepath.Join(dir, "log")}
		k.err = k.cmd.Run()
		return k
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), []byte("level=INFO\ndither: the disk is full\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if e.crew.rest(ended("teacher")); e.crew.rested() != nil {
		t.Error("a teacher that is done ends the run")
	}
	k := ended("coordinator")
	if e.crew.rest(k); e.crew.rested() != k {
		t.Error("a coordinator that is done does not end the run")
	}
	if _, err := e.recorded(k); exitCode(err) != exitTemporary || !strings.Contains(err.Error(), "coordinator: the disk is full") {
		t.Errorf("without a result: %v", err)
	}
	if err := runlog.WriteResult(dir, runlog.Result{Phase: "failed", Reason: "lost", Iterations: 7}); err != nil {
		t.Fatal(err)
	}
	if r, err := e.recorded(k); err != nil || r.GetPhase() != "failed" || r.GetReason() != "lost" || r.GetIteration() != 7 || !r.GetTemporary() {
		t.Errorf("with a result: %v, %v", r, err)
	}
}
