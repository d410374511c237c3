package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/ols"
)

// olsBenchResult is what `dither bench ols --json` prints.
type olsBenchResult struct {
	Settings            int     `json:"settings"`
	Iterations          int64   `json:"iterations"` // of each setting
	Threads             int     `json:"threads"`    // 0: one for each processor
	Times               int     `json:"times"`
	Seconds             float64 `json:"seconds"` // of drawing, theory and runs together, paths kept; the median
	SecondsMin          float64 `json:"seconds_min"`
	IterationsPerSecond float64 `json:"iterations_per_second"` // of all settings together, by the median
	PeakMemoryBytes     int64   `json:"peak_memory_bytes"`
}

func newBenchOLSCommand(a *app) *cobra.Command {
	f := &olsFlags{}
	var times int
	cmd := &cobra.Command{Use: "ols", Short: "Time the linear-regression study: drawing, theory and the runs of Figure 1, paths kept", Args: noArgs, Example: "  dither bench ols --json\n  dither bench ols --iterations 100000 --times 3 --threads 1"}
	cmd.Flags().Int64Var(&f.iterations, "iterations", 1_000_000, "K of every chain")
	cmd.Flags().IntVar(&f.threads, "threads", 0, "chains that run at one time; 0: one for each processor")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "every draw is a function of it")
	cmd.Flags().IntVar(&times, "times", 5, "how often, after one that is not timed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.set, f.thin, f.refresh, f.keepPaths = cmd.Flags(), 1, ols.Once, true
		if times < 1 {
			return badInputf("--times %d: time it once at least", times)
		}
		settings, err := f.settings()
		if err != nil {
			return err
		}
		options := ols.Options{Iterations: f.iterations, Keep: true, Threads: f.threads}
		if err := fits(options, settings); err != nil {
			return err
		}
		ms, err := timed(cmd.Context(), 1, times, func() error {
			s, err := newOLSStudy(settings, f.threads)
			if err != nil {
				return err
			}
			return s.run(cmd.Context(), a, options)
		})
		if err != nil {
			return err
		}
		r := olsBenchResult{Settings: len(settings), Iterations: f.iterations, Threads: f.threads, Times: times, Seconds: median(ms) / 1e3, SecondsMin: ms[0] / 1e3, PeakMemoryBytes: peakMemory()}
		r.IterationsPerSecond = float64(r.Iterations) * float64(r.Settings) / r.Seconds
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%d settings of %d iterations: %.3g s (least %.3g), %.3g million iterations a second, %d MiB\n", r.Settings, r.Iterations, r.Seconds, r.SecondsMin, r.IterationsPerSecond/1e6, r.PeakMemoryBytes>>20)
		})
	}
	return cmd
}
