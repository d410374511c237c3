package main

import (
	"testing"
	"time"
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
