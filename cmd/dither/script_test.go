package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// TestMain makes this test binary be other programs as well, for the scripts: dither, one that only shows progress, one that serves a noise which lies.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dither": main, "show-progress": showProgress, "lying-noise": func() { serveBad(liar{gaussian()}) }, "bad-noise": badNoise})
}

// liar claims half of its variance.
type liar struct{ noise.Noise }

func (l liar) Describe(ctx context.Context) (noise.Description, error) {
	d, err := l.Noise.Describe(ctx)
	d.Name, d.Variance = "liar", d.Variance/2
	return d, err
}

func gaussian() noise.Noise {
	spec, _, err := noise.Parse("gaussian:sigma2=4")
	if err != nil {
		panic(err)
	}
	n, err := noise.New(spec, "")
	if err != nil {
		panic(err)
	}
	return n
}

// badNoise serves a noise that answers wrongly: bad-noise shape|nan|slow|fickle|forgetful
func badNoise() { serveBad(&wrong{Noise: gaussian(), how: os.Args[1]}) }

// wrong is a noise of which the third iteration goes wrong; or one that is not replayable, and says otherwise (fickle) or says so (forgetful).
type wrong struct {
	noise.Noise
	how   string
	slow  sync.Once
	draws atomic.Uint64
}

func (w *wrong) Describe(ctx context.Context) (noise.Description, error) {
	d, err := w.Noise.Describe(ctx)
	d.Replayable = w.how != "forgetful"
	return d, err
}

func (w *wrong) Perturb(ctx context.Context, seed uint64, iteration uint32, samples []uint32, logits, out []float32) error {
	if w.how == "fickle" || w.how == "forgetful" {
		seed += w.draws.Add(1)
	}
	if err := w.Noise.Perturb(ctx, seed, iteration, samples, logits, out); err != nil || iteration != 3 {
		return err
	}
	switch w.how {
	case "nan":
		out[0] = float32(math.NaN())
	case "slow": // once
		w.slow.Do(func() { <-ctx.Done() })
		return context.Cause(ctx)
	}
	return nil
}

// shapeless is the service of a noise whose answers lack a row.
type shapeless struct{ ditherv1.NoiseServiceServer }

func (s shapeless) Perturb(ctx context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
	a, err := s.NoiseServiceServer.Perturb(ctx, q)
	if err == nil && q.GetIteration() == 3 {
		t := a.GetLogits()
		row := len(t.Data) / int(t.Shape[0])
		t.Shape[0]--
		t.Data = t.Data[row:]
	}
	return a, err
}

func serveBad(n noise.Noise) {
	a := newApp(os.Stdout, os.Stderr)
	a.json = true
	err := func() error {
		l, err := listen("", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s := newService()
		service := noise.NewServer(n)
		if w, ok := n.(*wrong); ok && w.how == "shape" {
			service = shapeless{service}
		}
		ditherv1.RegisterNoiseServiceServer(s, service)
		if err := a.result(noiseService{Address: l.Addr().String()}, nil); err != nil {
			return err
		}
		return s.serve(context.Background(), l)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// showProgress does 3 of 4 steps with a line after them, then all of 4, on standard error or the file that it is given.
func showProgress() {
	out := os.Stderr
	if len(os.Args) > 1 {
		var err error
		if out, err = os.OpenFile(os.Args[1], os.O_RDWR, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	a := newApp(os.Stdout, out)
	p := a.progress("given up", 4)
	p.Set(3, "loss 0.5")
	fmt.Fprintln(a.stderr, "a line")
	p.Done()
	p = a.progress("complete", 4)
	p.Set(4, "")
	p.Done()
	fmt.Fprintln(a.stderr, "the last line")
}

// TestScripts runs the real command line by the scripts in testdata.
func TestScripts(t *testing.T) {
	pickles, err := filepath.Abs("../../trainer/checkpoint/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Setup: func(e *testscript.Env) error {
			e.Setenv("PICKLES", pickles)
			return nil
		},
		Condition:           func(c string) (bool, error) { return c == "root" && os.Geteuid() == 0, nil },
		Dir:                 "testdata",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"jsonkeys": cmdJSONKeys,
			"serve":    cmdServe,
			"signal":   cmdSignal,
			"occupy":   cmdOccupy,
			"free":     cmdFree,
			"files":    cmdFiles,
			"ended":    cmdEnded,
			"disk":     cmdDisk,
			"records":  cmdRecords,
			"samebits": cmdSameBits,
			"field":    cmdField,
			"launch":   cmdLaunch,
			"await":    cmdAwait,
			"serves":   cmdServes,
			"send":     cmdSend,
			"ends":     cmdEnds,

			"panels":     cmdPanels,
			"samepanels": cmdSamePanels,
		},
	})
}

// cmdExits runs a command and wants one exit code: exits CODE PROGRAM ARG...
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = strings.TrimPrefix(exit.String(), "exit status ")
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// cmdJSONKeys wants a file to be one JSON object with exactly these keys: jsonkeys FILE KEY...
func cmdJSONKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: jsonkeys FILE KEY...")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &object); err != nil {
		ts.Fatalf("%s is not one JSON object: %v", args[0], err)
	}
	got := slices.Sorted(maps.Keys(object))
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(got, want) {
		ts.Fatalf("%s has keys %q, want %q", args[0], got, want)
	}
}

// server is a dither that a script started and that has said where it listens.
type server struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	once   sync.Once
	err    error
}

func (s *server) wait() error {
	s.once.Do(func() { s.err = s.cmd.Wait() })
	return s.err
}

// cmdServe starts a service with --json and puts the address from its first line into an environment variable: serve VAR dither ARG...
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serve VAR dither ARG...")
	}
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	s := &server{cmd: exec.Command(program, append(args[2:], "--json")...)}
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() {
		s.cmd.Process.Kill()
		s.wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		s.wait()
		ts.Fatalf("%v said no address: %s", args[1:], s.stderr.String())
	}
	var said struct {
		Address string `json:"address"`
	}
	ts.Check(json.Unmarshal(line, &said))
	ts.Setenv(args[0], said.Address)
	servers.Store(ts.Name()+args[0], s)
}

// servers holds what cmdServe started, by script and variable.
var servers sync.Map

// cmdSignal interrupts what serve started and wants it to end with an exit code: signal VAR CODE
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal VAR CODE")
	}
	found, ok := servers.Load(ts.Name() + args[0])
	if !ok {
		ts.Fatalf("nothing was started with serve %s", args[0])
	}
	s := found.(*server)
	ts.Check(s.cmd.Process.Signal(os.Interrupt))
	s.wait()
	if got := strings.TrimPrefix(s.cmd.ProcessState.String(), "exit status "); got != args[1] {
		ts.Fatalf("exit code %s, want %s; stderr:\n%s", got, args[1], s.stderr.String())
	}
}

// cmdEnded wants what serve started to end by itself with an exit code: ended VAR CODE
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended VAR CODE")
	}
	found, ok := servers.Load(ts.Name() + args[0])
	if !ok {
		ts.Fatalf("nothing was started with serve %s", args[0])
	}
	s := found.(*server)
	s.wait()
	if got := strings.TrimPrefix(s.cmd.ProcessState.String(), "exit status "); got != args[1] {
		ts.Fatalf("exit code %s, want %s; stderr:\n%s", got, args[1], s.stderr.String())
	}
}

// cmdOccupy takes a port for as long as the script runs: occupy VAR
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// cmdFree puts an address of a port that nobody listens on into a variable: free VAR
func cmdFree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], l.Addr().String())
}

// cmdFiles serves a folder over HTTP, at the address HOST:PORT that it puts into VAR, for as long as the script runs: files VAR DIR
func cmdFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: files VAR DIR")
	}
	web := httptest.NewServer(http.FileServer(http.Dir(filepath.Clean(ts.MkAbs(args[1])))))
	ts.Defer(web.Close)
	ts.Setenv(args[0], web.Listener.Addr().String())
}
