package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/cmd/dither/chaos"
)

// chaosOptions is what `dither chaos` is asked for.
type chaosOptions struct {
	Seed         uint64
	Schedules    int
	Trainers     int
	Coordinators int
	Etcd         int
	Teachers     int
	Seconds      float64
	Faults       string
	Keep         string
	Model        string
	Iterations   int
	Silence      time.Duration
}

// chaosResult is what came of all schedules.
type chaosResult struct {
	Version          string    `json:"version"`
	Seed             uint64    `json:"seed"`
	Schedules        int       `json:"schedules"`
	Failed           int       `json:"failed"`
	Model            string    `json:"model"`
	Iterations       int       `json:"iterations"`
	ParametersSHA256 string    `json:"parameters_sha256"`
	Faults           int       `json:"faults"`     // that were played
	Unrecorded       int       `json:"unrecorded"` // iterations of all runs whose record was lost with everybody who had it
	Kills            int       `json:"kills"`      // of trainers of the generation
	RecoveryMedian   *float64  `json:"recovery_seconds_median"`
	RecoveryMax      *float64  `json:"recovery_seconds_max"`
	Failures         []outcome `json:"failures"`
}

// joiners is how many trainers may come beside those that a run begins with: the spec has a shard for each.
const joiners = 2

func (o chaosOptions) length() time.Duration { return time.Duration(o.Seconds * float64(time.Second)) }

func (o chaosOptions) shards() int { return o.Trainers + joiners }

func newChaosCommand(a *app) *cobra.Command {
	o := chaosOptions{}
	cmd := &cobra.Command{Use: "chaos", Short: "Kill, freeze and cut off the processes of runs, and see that the bits stay the same", Args: noArgs,
		Long: "chaos takes a run of real processes on this machine through schedules of faults, each drawn from a seed, and compares what it comes to with a run to which nothing is done:\n" +
			"the parameters' sha256, and every iteration's loss. A failure prints the seed, the schedule in words and where the logs are.",
		Example: "  dither chaos --schedules 20\n  dither chaos --seed 1017 --schedules 1 --iterations 800 --keep failed\n  dither chaos --faults kill,freeze --trainers 4 --etcd 1 --coordinators 1"}
	s := cmd.Flags()
	s.Uint64Var(&o.Seed, "seed", 1, "of the first schedule; the next one has the next seed")
	s.IntVar(&o.Schedules, "schedules", 10, "how many, one after another")
	s.IntVar(&o.Trainers, "trainers", 3, "trainers at the beginning; up to 2 more join")
	s.IntVar(&o.Coordinators, "coordinators", 2, "coordinators, of which one leads")
	s.IntVar(&o.Etcd, "etcd", 3, "members of etcd")
	s.IntVar(&o.Teachers, "teachers", 2, "teacher-logit services; 0: the run learns from the data set's labels")
	s.Float64Var(&o.Seconds, "seconds", 6, "for which faults are made; a run is long enough for that")
	s.StringVar(&o.Faults, "faults", chaosFaults(), "which may be drawn")
	s.StringVar(&o.Keep, "keep", "", "folder to keep every run in; default: a temporary one, which stays only where a schedule fails")
	s.StringVar(&o.Model, "model", "mlp", "the network, on the digits")
	s.IntVar(&o.Iterations, "iterations", 0, "length of the run; 0: as many as fit --seconds here. A seed is replayed with the same number")
	s.DurationVar(&o.Silence, "silence", time.Second, "of the run: after which a trainer that says nothing is taken for lost")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		kinds, err := o.check()
		if err != nil {
			return err
		}
		return o.run(cmd.Context(), a, kinds)
	}
	return cmd
}

func chaosFaults() string {
	var words []string
	for _, k := range chaos.Kinds {
		words = append(words, string(k))
	}
	return strings.Join(words, ",")
}

// check refuses what makes no run.
func (o chaosOptions) check() ([]chaos.Kind, error) {
	for _, n := range []struct {
		flag  string
		n, of int
	}{{"schedules", o.Schedules, 1}, {"trainers", o.Trainers, 1}, {"coordinators", o.Coordinators, 1}, {"etcd", o.Etcd, 1}, {"teachers", o.Teachers, 0}, {"iterations", o.Iterations, 0}} {
		if n.n < n.of {
			return nil, badInputf("--%s %d: it must be %d or more", n.flag, n.n, n.of)
		}
	}
	if !(o.Seconds >= 1 && o.Seconds <= 3600) {
		return nil, badInputf("--seconds %v: a schedule takes from 1 to 3600 s", o.Seconds)
	}
	if err := checkSilence(o.Silence); err != nil {
		return nil, err
	}
	kinds, err := chaos.ParseKinds(o.Faults)
	if err != nil {
		return nil, badInputf("--faults %s: %w", o.Faults, err)
	}
	return kinds, nil
}

// run plays every schedule, and says what came of them.
func (o chaosOptions) run(ctx context.Context, a *app, kinds []chaos.Kind) (err error) {
	dir, kept := o.Keep, true
	if dir == "" {
		if dir, err = os.MkdirTemp("", "dither-chaos-"); err != nil {
			return err
		}
		kept = false
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return badInputf("--keep: %w", err)
	}
	result := chaosResult{Version: versionString(), Seed: o.Seed, Schedules: o.Schedules, Model: o.Model, Failures: []outcome{}}
	defer func() {
		if !kept && result.Failed == 0 {
			_ = os.RemoveAll(dir) // temporary, and the system's to clear if it cannot be
		}
	}()
	quiet, err := o.quiet(ctx, a, dir)
	if err != nil {
		return err
	}
	result.Iterations, result.ParametersSHA256 = len(quiet.losses), quiet.result.ParametersSHA256
	fmt.Fprintf(a.stderr, "chaos: the quiet run of %d iterations took %.1f s: parameters sha256:%s\n", result.Iterations, quiet.took.Seconds(), result.ParametersSHA256)
	shape := chaos.Shape{Trainers: o.Trainers, Most: o.shards(), Coordinators: o.Coordinators, Etcd: o.Etcd, Teachers: o.Teachers, Length: o.length(), Faults: kinds}
	var recoveries []float64
	for i := range o.Schedules {
		s := chaos.Draw(o.Seed+uint64(i), shape)
		place := filepath.Join(dir, fmt.Sprintf("seed-%d", s.Seed))
		out := playSchedule(ctx, a, quiet, s, place, o)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		result.Faults += out.Played
		result.Unrecorded += out.Unrecorded
		recoveries = append(recoveries, out.Recovery...)
		fmt.Fprintln(a.stderr, out.line(i+1, o.Schedules))
		if !out.OK {
			result.Failed++
			result.Failures = append(result.Failures, out)
			fmt.Fprintf(a.stderr, "%s  dither %s, replay: %s\n  logs: %s\n", out.Schedule, result.Version, o.replay(s.Seed, result.Iterations), out.Logs)
		} else if !kept {
			_ = os.RemoveAll(place) // as above
		}
	}
	result.recovered(recoveries)
	if err := a.result(result, result.print); err != nil {
		return err
	}
	if result.Failed > 0 {
		return fmt.Errorf("%d of %d schedules did not come to the quiet run's bits; the runs are in %s", result.Failed, result.Schedules, dir)
	}
	return nil
}

// replay is the command that plays one seed again.
func (o chaosOptions) replay(seed uint64, iterations int) string {
	return fmt.Sprintf("dither chaos --seed %d --schedules 1 --iterations %d --model %s --trainers %d --coordinators %d --etcd %d --teachers %d --seconds %v --silence %v --faults %s",
		seed, iterations, o.Model, o.Trainers, o.Coordinators, o.Etcd, o.Teachers, o.Seconds, o.Silence, o.Faults)
}

// line is an outcome for the screen.
func (o outcome) line(i, n int) string {
	s := fmt.Sprintf("chaos: schedule %d of %d (seed %d): ", i, n, o.Seed)
	if !o.OK {
		return s + "FAILED: " + o.Reason
	}
	s += fmt.Sprintf("same bits after %.1f s, %d of %d faults, %d generations", o.Seconds, o.Played, o.Faults, o.Generations)
	if o.Unrecorded > 0 {
		s += fmt.Sprintf(", %d iterations without a record, as all who had it were lost", o.Unrecorded)
	}
	if len(o.Recovery) > 0 {
		s += fmt.Sprintf(", recovered from a kill in %.2f s at most", slices.Max(o.Recovery))
	}
	return s
}

// recovered notes the times from each kill to the next applied iteration.
func (r *chaosResult) recovered(seconds []float64) {
	if r.Kills = len(seconds); r.Kills == 0 {
		return
	}
	slices.Sort(seconds)
	r.RecoveryMedian, r.RecoveryMax = &seconds[len(seconds)/2], &seconds[len(seconds)-1]
}

func (r chaosResult) print(w io.Writer) {
	fmt.Fprintf(w, "%d schedules from seed %d, %d faults: %d came to the bits of the quiet run, %d did not\n", r.Schedules, r.Seed, r.Faults, r.Schedules-r.Failed, r.Failed)
	if r.Kills > 0 {
		fmt.Fprintf(w, "%d kills of a trainer: the next iteration was applied after %.2f s (median), %.2f s (at most)\n", r.Kills, *r.RecoveryMedian, *r.RecoveryMax)
	}
	fmt.Fprintf(w, "parameters sha256:%s\n", r.ParametersSHA256)
}
