package main

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestExitCode(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, inUse := net.Listen("tcp", held.Addr().String())
	if inUse == nil {
		t.Fatal("a port could be had twice")
	}
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, 0},
		{"plain", errors.New("x"), 1},
		{"bad input", fmt.Errorf("a: %w", badInputf("b")), 2},
		{"stopped", stopped(errors.New("x")), 3},
		{"temporary", temporary(errors.New("x")), 75},
		{"a code given outside wins", badInput(temporary(errors.New("x"))), 2},
		{"no such service", fmt.Errorf("call: %w", status.Error(codes.Unavailable, "x")), 75},
		{"slow service", status.Error(codes.DeadlineExceeded, "x"), 75},
		{"service refuses", status.Error(codes.InvalidArgument, "x"), 2},
		{"interrupted", fmt.Errorf("x: %w", errInterrupted), 130},
		{"port in use", inUse, 2},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSentence(t *testing.T) {
	err := fmt.Errorf("ask 127.0.0.1:1: %w", errors.Join(status.Error(codes.Unavailable, "nobody is there"), errors.New("start it")))
	if got, want := sentence(err), "ask 127.0.0.1:1: nobody is there; start it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
