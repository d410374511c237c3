package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator"
	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// listening is where a role can be reached: the one line that `dither serve` prints, and a run's coordinator.json.
type listening struct {
	Address string `json:"address"`
}

// reach dials the coordinator at HOST:PORT, or that of the run in a folder.
func reach(ctx context.Context, target string) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		text, err := os.ReadFile(filepath.Join(target, addressName))
		if err != nil {
			return nil, nil, badInputf("no run is going on in %s (it has no %s); `dither report %s` shows what it has", target, addressName, target)
		}
		var at listening
		if err := json.Unmarshal(text, &at); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", addressName, err)
		}
		target = at.Address
	}
	return coordinator.Dial(ctx, target)
}

// follower is how to reach the coordinator that leads a run now: at first the one that was named, then whom etcd or the run's folder names.
func follower(target string, run *ditherv1.GetRunResponse) dialer {
	first := true
	return func(ctx context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
		if first {
			first = false
			return reach(ctx, target)
		}
		members, err := membership.Connect(ctx, run.GetEtcd(), run.GetRun())
		if err != nil { // an etcd embedded in a coordinator goes with it
			return reach(ctx, target)
		}
		defer members.Close()
		return dialLeader(ctx, members)
	}
}

// watchWait is how long `dither watch` waits for a coordinator to take over from one that is gone.
const watchWait = 30 * time.Second

// watcher turns a run's events into a progress bar and lines. It goes on with the coordinator that takes over when one is lost, and shows nothing twice.
type watcher struct {
	app         *app
	title       string
	reach       dialer          // the coordinator that leads
	interrupted context.Context // over when the user wants the run to stop; nil: never
	patience    time.Duration   // how long there may be no coordinator; 0: for ever
	batch       uint32

	bar        *Progress
	iterations int
	iteration  uint32          // the last one shown
	generation uint64          // the last one heard of
	evaluated  map[string]bool // what was shown, by kind and iteration
	seen       func(*ditherv1.WatchResponse)
}

// follow watches the run until its result.
func (w *watcher) follow(ctx context.Context) (*ditherv1.RunResult, error) {
	defer w.done()
	heard := time.Now()
	for {
		r, any, err := w.attend(ctx)
		switch {
		case r != nil:
			return r, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case any:
			heard = time.Now()
		case w.patience > 0 && time.Since(heard) > w.patience:
			return nil, temporary(fmt.Errorf("the coordinator ended before the run did, and none took over within %v (%s); its log is in the run's folder", w.patience, ditherv1.Message(err)))
		}
		select {
		case <-time.After(askWait):
		case <-ctx.Done():
		}
	}
}

// attend watches by one coordinator, until the result or the end of the connection. It says whether there was any event.
func (w *watcher) attend(ctx context.Context) (r *ditherv1.RunResult, any bool, err error) {
	client, conn, err := w.reach(ctx)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	if w.interrupted != nil {
		// Each coordinator is told: the one before may have taken the word with it.
		stop := context.AfterFunc(w.interrupted, func() { _, _ = client.Stop(ctx, &ditherv1.StopRequest{Reason: "interrupted"}) })
		defer stop()
	}
	stream, err := client.Watch(ctx, &ditherv1.WatchRequest{FromStart: true})
	if err != nil {
		return nil, false, err
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			return endWithoutEvents(ctx, client), any, err
		}
		any = true
		if w.seen != nil {
			w.seen(e)
		}
		if r := e.GetResult(); r != nil {
			return r, true, nil
		}
		w.event(e)
	}
}

// endWithoutEvents is the result of a run whose coordinator cannot give its events (a disk that fails) and yet tells how it ended; nil where there is none.
func endWithoutEvents(ctx context.Context, client ditherv1.CoordinatorServiceClient) *ditherv1.RunResult {
	bound, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	s, err := client.Status(bound, &ditherv1.StatusRequest{})
	if err != nil {
		return nil // it is gone, and its events with it
	}
	switch s.GetPhase() {
	case "finished", "stopped", "failed":
		return &ditherv1.RunResult{Phase: s.GetPhase(), Reason: s.GetReason(), Iteration: s.GetIteration(), Generations: s.GetGeneration(), Temporary: s.GetPhase() == "failed"}
	}
	return nil
}

func (w *watcher) done() {
	if w.bar != nil {
		w.bar.Done()
		w.bar = nil
	}
}

func (w *watcher) event(e *ditherv1.WatchResponse) {
	switch {
	case e.GetStatus() != nil:
		w.status(e.GetStatus())
	case e.GetIteration() != nil:
		w.applied(e.GetIteration())
	case e.GetEvaluation() != nil:
		w.evaluation(e.GetEvaluation())
	}
}

func (w *watcher) status(s *ditherv1.StatusResponse) {
	w.iterations = int(s.GetIterations())
	if s.GetPhase() != "training" {
		what := s.GetReason()
		if !strings.HasPrefix(what, s.GetPhase()) { // else it says so itself
			what = s.GetPhase() + ": " + what
		}
		fmt.Fprintf(w.app.stderr, "%s: %s\n", w.title, what)
	}
	// The first is what everybody waited for: only a change is news.
	if g := s.GetGeneration(); g > w.generation {
		if w.generation > 0 && s.GetGenerationReason() != "" {
			fmt.Fprintf(w.app.stderr, "%s: generation %d after iteration %d: %s\n", w.title, g, s.GetIteration(), s.GetGenerationReason())
		}
		w.generation = g
	}
}

func (w *watcher) applied(r *ditherv1.IterationRecord) {
	if r.GetIteration() <= w.iteration {
		return
	}
	w.iteration = r.GetIteration()
	if w.bar == nil && w.iterations > 0 {
		w.bar = w.app.progress(w.title, w.iterations)
	}
	if w.bar == nil {
		return
	}
	note := fmt.Sprintf("loss %.4g", r.GetLoss())
	if w.batch > 0 {
		note += fmt.Sprintf(", %.0f %% right", 100*float64(r.GetCorrect())/float64(w.batch))
	}
	w.bar.Set(int(r.GetIteration()), note)
}

func (w *watcher) evaluation(v *ditherv1.Evaluation) {
	key := fmt.Sprintf("%s/%d", v.GetKind(), v.GetIteration())
	if w.evaluated[key] {
		return
	}
	if w.evaluated == nil {
		w.evaluated = map[string]bool{}
	}
	w.evaluated[key] = true
	if v.GetKind() == "gradient_norm" {
		fmt.Fprintf(w.app.stderr, "%s: after iteration %d: gradient norm %.6g over %d training images\n", w.title, v.GetIteration(), v.GetGradientNorm(), v.GetImages())
	} else {
		fmt.Fprintf(w.app.stderr, "%s: after iteration %d: %s accuracy %.2f %%, loss %.4g over %d images\n", w.title, v.GetIteration(), v.GetKind(), 100*v.GetAccuracy(), v.GetLoss(), v.GetImages())
	}
}

func newWatchCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "watch ADDRESS|DIR", Short: "Follow a run until it is over", Args: oneArg("ADDRESS or run folder"),
		Example: "  dither watch runs/first\n  dither watch 10.0.0.1:7000",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, conn, err := reach(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			run, err := c.GetRun(cmd.Context(), &ditherv1.GetRunRequest{})
			if err != nil {
				return err
			}
			w := &watcher{app: a, title: "run " + run.GetRun(), batch: run.GetSpec().GetBatch(), patience: watchWait, reach: follower(args[0], run)}
			r, err := w.follow(cmd.Context())
			if err != nil {
				return err
			}
			return a.result(message{r}, func(out io.Writer) { fmt.Fprintf(out, "%s: %s\n", r.GetPhase(), r.GetReason()) })
		},
	}
}

func newStopCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "stop ADDRESS|DIR", Short: "Stop a run after the iteration in flight, with a checkpoint", Args: oneArg("ADDRESS or run folder"),
		Example: "  dither stop runs/first",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, conn, err := reach(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := c.Stop(cmd.Context(), &ditherv1.StopRequest{Reason: "asked by `dither stop`"}); err != nil {
				return err
			}
			return a.result(map[string]bool{"stopping": true}, func(out io.Writer) { fmt.Fprintln(out, "the run stops after the iteration in flight") })
		},
	}
}

// message is a protobuf message as encoding/json shows it: names as in the .proto, zeros included.
type message struct{ proto.Message }

func (m message) MarshalJSON() ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m.Message)
}
