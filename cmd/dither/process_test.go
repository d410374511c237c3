package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for a line or an end; it is never waited out unless a test fails.
const patience = time.Minute

// launched is a program that a script started and goes on beside.
type launched struct {
	cmd  *exec.Cmd
	mark string // NAME=VALUE in its environment and its children's
	done chan struct{}

	mu             sync.Mutex
	grew           *sync.Cond
	stdout, stderr []byte
	over           bool
}

// growing is what a launched program has written to one of its outputs.
type growing struct {
	l    *launched
	text *[]byte
}

func (g growing) Write(p []byte) (int, error) {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	*g.text = append(*g.text, p...)
	g.l.grew.Broadcast()
	return len(p), nil
}

// programs holds what cmdLaunch started, by script and name.
var programs sync.Map

func launchedAs(ts *testscript.TestScript, name string) *launched {
	found, ok := programs.Load(ts.Name() + "/" + name)
	if !ok {
		ts.Fatalf("nothing was started with launch %s", name)
	}
	return found.(*launched)
}

// cmdLaunch starts a program and goes on: launch NAME PROGRAM ARG...
func cmdLaunch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: launch NAME PROGRAM ARG...")
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	l := &launched{cmd: exec.Command(path, args[2:]...), done: make(chan struct{})}
	l.mark = fmt.Sprintf("DITHER_TEST=%s/%s/%d", ts.Name(), args[0], os.Getpid())
	l.grew = sync.NewCond(&l.mu)
	l.cmd.Dir, l.cmd.Stdout, l.cmd.Stderr = ts.MkAbs("."), growing{l, &l.stdout}, growing{l, &l.stderr}
	l.cmd.Env = append(os.Environ(), l.mark)
	ts.Check(l.cmd.Start())
	go func() {
		_ = l.cmd.Wait()
		l.mu.Lock()
		l.over = true
		l.grew.Broadcast()
		l.mu.Unlock()
		close(l.done)
	}()
	ts.Defer(func() {
		for pid := range l.processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-l.done
	})
	programs.Store(ts.Name()+"/"+args[0], l)
}

// processes are the program and its children that live, with their command lines.
func (l *launched) processes() map[int]string {
	found := map[int]string{}
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		env, err := os.ReadFile(p)
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), l.mark) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err == nil {
			found[pid] = strings.ReplaceAll(string(line), "\x00", " ")
		}
	}
	return found
}

// cmdAwait waits until the standard error of a program has a match: await NAME REGEXP
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME REGEXP")
	}
	l := launchedAs(ts, args[0])
	l.await(ts, &l.stderr, args[1])
}

// cmdServes waits until a program has said that it serves, with the first line of its standard output: serves NAME
func cmdServes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serves NAME")
	}
	l := launchedAs(ts, args[0])
	l.await(ts, &l.stdout, `^\{"address":`)
}

// await waits until an output has a match.
func (l *launched) await(ts *testscript.TestScript, output *[]byte, match string) {
	re := regexp.MustCompile("(?m)" + match)
	late := false
	alarm := time.AfterFunc(patience, func() {
		l.mu.Lock()
		late = true
		l.grew.Broadcast()
		l.mu.Unlock()
	})
	defer alarm.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !re.Match(*output) {
		if l.over || late {
			ts.Fatalf("no %q:\n%s\nstandard error:\n%s", match, l.stdout, l.stderr)
		}
		l.grew.Wait()
	}
}

// cmdSend sends a signal to a program, or to those of its children whose command line has the words: send INT|TERM|KILL NAME [WORDS]
func cmdSend(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	if neg || len(args) < 2 || len(args) > 3 || signals[args[0]] == 0 {
		ts.Fatalf("usage: send INT|TERM|KILL NAME [WORDS]")
	}
	l := launchedAs(ts, args[1])
	if len(args) == 2 {
		ts.Check(l.cmd.Process.Signal(signals[args[0]]))
		return
	}
	hit := 0
	for pid, line := range l.processes() {
		if strings.Contains(line, args[2]) {
			ts.Check(syscall.Kill(pid, signals[args[0]]))
			hit++
		}
	}
	if hit == 0 {
		ts.Fatalf("%s has no child %q", args[1], args[2])
	}
}

// cmdEnds wants a program to end with a code ("killed" for none), a match on standard error, and none of its children left: ends NAME CODE [REGEXP]
func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: ends NAME CODE [REGEXP]")
	}
	l := launchedAs(ts, args[0])
	select {
	case <-l.done:
	case <-time.After(patience):
		ts.Fatalf("%s goes on; standard error:\n%s", args[0], l.stderr)
	}
	code := strconv.Itoa(l.cmd.ProcessState.ExitCode())
	if code == "-1" {
		code = "killed"
	}
	if code != args[1] {
		ts.Fatalf("exit code %s, want %s; standard error:\n%s", code, args[1], l.stderr)
	}
	if len(args) == 3 && !regexp.MustCompile("(?m)"+args[2]).Match(l.stderr) {
		ts.Fatalf("no %q on standard error:\n%s", args[2], l.stderr)
	}
	left := l.processes()
	if len(left) > 0 && code != "killed" {
		ts.Fatalf("children left: %v", left)
	}
	for pid, line := range left {
		waitGone(ts, pid, line)
	}
}

// waitGone waits until an orphan has ended: its pidfd becomes readable then.
func waitGone(ts *testscript.TestScript, pid int, line string) {
	const pidfdOpen = 434 // on every architecture of Linux
	fd, _, errno := syscall.Syscall(pidfdOpen, uintptr(pid), 0, 0)
	if errno == syscall.ESRCH {
		return
	}
	if errno != 0 {
		ts.Fatalf("pidfd_open: %v", errno)
	}
	defer syscall.Close(int(fd))
	epoll, err := syscall.EpollCreate1(0)
	ts.Check(err)
	defer syscall.Close(epoll)
	ts.Check(syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN}))
	deadline := time.Now().Add(patience / 2)
	for {
		n, err := syscall.EpollWait(epoll, make([]syscall.EpollEvent, 1), max(0, int(time.Until(deadline).Milliseconds())))
		switch {
		case err == syscall.EINTR:
		case err != nil || n == 0:
			ts.Fatalf("still there: %s (%v)", line, err)
		default:
			return
		}
	}
}

// cmdField puts a field of a JSON file into an environment variable: field VAR FILE KEY
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field VAR FILE KEY")
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &object))
	v, ok := object[args[2]]
	if !ok {
		ts.Fatalf("%s has no %s", args[1], args[2])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// cmdSameBits wants runs to have ended with the same parameters, or with "!" each with others than the first: samebits RUN RUN...
func cmdSameBits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] samebits RUN RUN...")
	}
	var first string
	for i, dir := range args {
		var r struct {
			Sum string `json:"parameters_sha256"`
		}
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(dir, "result.json"))), &r))
		switch {
		case len(r.Sum) != 64:
			ts.Fatalf("%s has no sha256 of its parameters: %q", dir, r.Sum)
		case i == 0:
			first = r.Sum
		case (r.Sum == first) == neg:
			ts.Fatalf("%s has %s and %s has %s", args[0], first, dir, r.Sum)
		}
	}
}

// cmdRecords writes a file of records in CIFAR-10's format, cut short by some bytes: records FILE COUNT LABEL CUT
func cmdRecords(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: records FILE COUNT LABEL CUT")
	}
	var n [3]int
	for i := range n {
		var err error
		n[i], err = strconv.Atoi(args[1+i])
		ts.Check(err)
	}
	data := make([]byte, n[0]*3073)
	for i := range n[0] {
		data[i*3073] = byte(n[1])
	}
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, data[:len(data)-n[2]], 0o644))
}

// cmdDisk mounts a small disk for as long as the script runs, or skips the script where that is not allowed: disk DIR SIZE
func cmdDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: disk DIR SIZE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o755))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]); err != nil {
		ts.Fatalf("mounting a small disk: %v", err)
	}
	ts.Defer(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}
