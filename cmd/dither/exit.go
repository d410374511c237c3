package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Exit codes, for schedulers and scripts; docs/command-line.md explains them.
const (
	exitOK          = 0
	exitFailed      = 1   // what was asked for was tried and did not succeed, or a check did not hold
	exitUsage       = 2   // bad flags or bad input: the same command will fail in the same way
	exitStopped     = 3   // stopped early with a checkpoint: --resume goes on from it
	exitTemporary   = 75  // a peer or a service was lost (EX_TEMPFAIL): a retry makes sense
	exitInterrupted = 130 // interrupted with nothing to keep, or a second time
)

// errInterrupted is the cause of a context that SIGINT or SIGTERM cancelled.
var errInterrupted = errors.New("interrupted")

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// withCode gives err an exit code; nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// badInput is an error that the same command will meet again: a flag, a file or an address that makes no sense.
func badInput(err error) error { return withCode(exitUsage, err) }

// badInputf is badInput of a formatted error.
func badInputf(format string, args ...any) error { return badInput(fmt.Errorf(format, args...)) }

// temporary is an error that a retry may not meet again.
func temporary(err error) error { return withCode(exitTemporary, err) }

// stopped is the end of work that a checkpoint keeps; the error says how to resume.
func stopped(err error) error { return withCode(exitStopped, err) }

// exitCode is what a command that returned err exits with.
func exitCode(err error) int {
	var coded *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, kernel.ErrUnsupported):
		return exitUsage
	}
	if _, short := errors.AsType[*kernel.NoMemory](err); short {
		return exitUsage // what was asked for does not fit
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return exitTemporary
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented:
		return exitUsage
	case codes.Canceled:
		return exitInterrupted
	}
	return exitFailed
}

var grpcPrefix = regexp.MustCompile(`rpc error: code = \w+ desc = `)

// sentence is err on one line, without gRPC's wrapping.
func sentence(err error) string {
	line := grpcPrefix.ReplaceAllString(err.Error(), "")
	return strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r == '\n' }), "; ")
}

// signalContext is cancelled, with cause errInterrupted, by the first SIGINT or SIGTERM. A second one exits at once: a clean stop may take
// as long as an iteration, and whoever asks twice does not want to wait.
func signalContext(a *app) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		if a.stderr.terminal() {
			fmt.Fprintln(a.stderr, "dither: stopping; interrupt again to stop at once")
		}
		cancel(errInterrupted)
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
