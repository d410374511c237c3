package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator"
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

// watcher turns a run's events into a progress bar and lines.
type watcher struct {
	app         *app
	title       string
	bar         *Progress
	iterations  int
	batch       uint32
	evaluations []*ditherv1.Evaluation
	last        *ditherv1.IterationRecord
}

// follow watches the run until its result.
func (w *watcher) follow(ctx context.Context, c ditherv1.CoordinatorServiceClient) (*ditherv1.RunResult, error) {
	stream, err := c.Watch(ctx, &ditherv1.WatchRequest{FromStart: true})
	if err != nil {
		return nil, err
	}
	defer w.done()
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, temporary(errors.New("the coordinator ended before the run did; its log is in the run's folder"))
		}
		if err != nil {
			return nil, err
		}
		if r := e.GetResult(); r != nil {
			return r, nil
		}
		w.event(e)
	}
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
		s := e.GetStatus()
		w.iterations = int(s.GetIterations())
		if s.GetPhase() != "training" {
			fmt.Fprintf(w.app.stderr, "%s: %s: %s\n", w.title, s.GetPhase(), s.GetReason())
		}
	case e.GetIteration() != nil:
		r := e.GetIteration()
		w.last = r
		if w.bar == nil && w.iterations > 0 {
			w.bar = w.app.progress(w.title, w.iterations)
		}
		if w.bar != nil {
			note := fmt.Sprintf("loss %.4g", r.GetLoss())
			if w.batch > 0 {
				note += fmt.Sprintf(", %.0f %% right", 100*float64(r.GetCorrect())/float64(w.batch))
			}
			w.bar.Set(int(r.GetIteration()), note)
		}
	case e.GetEvaluation() != nil:
		v := e.GetEvaluation()
		w.evaluations = append(w.evaluations, v)
		if v.GetKind() == "gradient_norm" {
			fmt.Fprintf(w.app.stderr, "%s: after iteration %d: gradient norm %.6g over %d training images\n", w.title, v.GetIteration(), v.GetGradientNorm(), v.GetImages())
		} else {
			fmt.Fprintf(w.app.stderr, "%s: after iteration %d: %s accuracy %.2f %%, loss %.4g over %d images\n", w.title, v.GetIteration(), v.GetKind(), 100*v.GetAccuracy(), v.GetLoss(), v.GetImages())
		}
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
			w := &watcher{app: a, title: "run " + run.GetRun(), batch: run.GetSpec().GetBatch()}
			r, err := w.follow(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.result(message{r}, func(out io.Writer) { fmt.Fprintf(out, "%s: %s\n", r.GetPhase(), r.GetReason()) })
		},
	}
}

func newStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status ADDRESS|DIR", Short: "Say who is in a run and how far it is", Args: oneArg("ADDRESS or run folder"),
		Example: "  dither status runs/first --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, conn, err := reach(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			s, err := c.Status(cmd.Context(), &ditherv1.StatusRequest{})
			if err != nil {
				return err
			}
			return a.result(message{s}, func(out io.Writer) { printStatus(out, s) })
		},
	}
}

func printStatus(out io.Writer, s *ditherv1.StatusResponse) {
	fmt.Fprintf(out, "run %s, spec %.12s\n%s: %s\n", s.GetRun(), s.GetSpecSha256(), s.GetPhase(), s.GetReason())
	fmt.Fprintf(out, "iteration %d of %d, loss %.4g, %.3g images/s, generation %d\n", s.GetIteration(), s.GetIterations(), s.GetLoss(), s.GetImagesPerSecond(), s.GetGeneration())
	var rows [][]string
	for _, m := range s.GetMembers() {
		shards := ""
		if m.GetEndShard() > 0 {
			shards = fmt.Sprintf("%d to %d", m.GetFirstShard(), m.GetEndShard()-1)
		}
		rows = append(rows, []string{m.GetId(), m.GetRole(), shards, fmt.Sprint(m.GetIterations()), m.GetKernelSet(), m.GetAddress(), m.GetProcess()})
	}
	table(out, []string{"id", "role", "shards", "iterations", "kernels", "address", "process"}, rows)
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
