package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// parting is how long a child may take to end by itself once the run is over or the parent is gone.
const parting = 5 * time.Second

// child is a role of a run as a process of this one. Its standard input is a pipe that only the parent holds: when the parent is gone,
// however it went, the child reads the end of it and leaves. It writes its log into the run's folder.
type child struct {
	role string
	kind string
	cmd  *exec.Cmd
	hold io.WriteCloser
	log  string
	done chan struct{} // closed when the process is gone
	err  error         // how it went; read after done
}

// crew is the children of one run.
type crew struct {
	dir     string
	lock    *os.File          // the lock on dir, which every child holds too; nil: none
	say     func(line string) // what a person should know
	news    chan struct{}     // capacity 1: something failed, or the coordinator is done
	tending sync.WaitGroup

	mu       sync.Mutex
	children []*child
	failed   []failure // in their order
	done     *child    // the coordinator, once it is
	ending   bool      // nothing is started any more
}

func newCrew(dir string, say func(string)) *crew {
	return &crew{dir: dir, say: say, news: make(chan struct{}, 1)}
}

func (c *crew) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// errEnding is for a child that is not started any more.
var errEnding = errors.New("the run is over")

// start begins `dither serve KIND args...`; with answer, the first line that it prints is read into it as JSON: what others need to reach it.
// A child that ended without saying it is given with the reason.
func (c *crew) start(r *role, args []string, answer *listening) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", r.name, err)
	}
	logs := filepath.Join(c.dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	k := &child{role: r.name, kind: r.kind, log: filepath.Join(logs, r.name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(k.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	k.cmd = exec.Command(exe, append([]string{"serve", r.kind, "--attached"}, args...)...)
	k.cmd.Stderr = log
	if c.lock != nil {
		k.cmd.ExtraFiles = []*os.File{c.lock}
	}
	// A Ctrl-C at the terminal is the parent's to hear; it stops the run in order.
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if k.hold, err = k.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	var out io.ReadCloser
	if answer != nil {
		if out, err = k.cmd.StdoutPipe(); err != nil {
			return nil, err
		}
	}
	if err := c.begin(k); err != nil {
		return nil, err
	}
	var line []byte
	var lineErr error
	if answer != nil {
		line, lineErr = bufio.NewReader(out).ReadBytes('\n')
	}
	go func() {
		k.err = k.cmd.Wait()
		close(k.done)
	}()
	if answer == nil {
		return k, nil
	}
	if lineErr != nil {
		<-k.done
		return k, k.why()
	}
	return k, json.Unmarshal(line, answer)
}

// begin starts a child's process and makes it one of the crew's, unless that is to end.
func (c *crew) begin(k *child) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return errEnding
	}
	if err := k.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", k.role, err)
	}
	c.children = append(slices.DeleteFunc(c.children, (*child).gone), k)
	return nil
}

// gone says whether it has ended.
func (k *child) gone() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// code is the exit code of a child that ended; negative: a signal.
func (k *child) code() int {
	if k.err == nil {
		return exitOK
	}
	if k.cmd.ProcessState == nil {
		return exitFailed
	}
	return k.cmd.ProcessState.ExitCode()
}

// why is the reason for which a child failed: the last thing that it said.
func (k *child) why() error {
	text, _ := os.ReadFile(k.log)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	last := strings.TrimPrefix(string(lines[len(lines)-1]), "dither: ")
	code := exitFailed
	if k.cmd.ProcessState != nil {
		if code = k.cmd.ProcessState.ExitCode(); code <= 0 {
			return temporary(fmt.Errorf("%s ended (%v); its log is %s", k.role, k.cmd.ProcessState, k.log))
		}
	}
	if last == "" {
		last = "it said nothing"
	}
	return withCode(code, fmt.Errorf("%s: %s (its log is %s)", k.role, last, k.log))
}

// close says that the crew ends: none is started again, and who goes now is not missed.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
}

// end waits for the children to leave, and makes those leave who do not. None is started again.
func (c *crew) end(patience time.Duration) {
	c.close()
	c.mu.Lock()
	children := c.children
	c.mu.Unlock()
	deadline := time.After(patience)
	for _, k := range children {
		select {
		case <-k.done:
			continue
		case <-deadline:
			// Time is up for all of them.
			deadline = closedTimer()
		}
		k.hold.Close()
		select {
		case <-k.done:
		case <-time.After(parting):
			_ = k.cmd.Process.Kill()
			<-k.done
		}
	}
	c.tending.Wait()
}

func closedTimer() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}

// follow makes a role that `dither run` started leave with it: gone is called when the parent is, and the process ends after that.
func follow(gone func()) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		gone()
		time.AfterFunc(parting, func() { os.Exit(exitTemporary) })
	}()
}

func flag(name string, v any) string { return "--" + name + "=" + fmt.Sprint(v) }

// threadsEach divides the processors among trainers on this machine, unless a number was asked for.
func threadsEach(asked, trainers uint32, processors int) string {
	if asked > 0 {
		return strconv.Itoa(int(asked))
	}
	return strconv.Itoa(max(1, processors/int(trainers)))
}
