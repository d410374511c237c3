package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/allreduce"
)

// allreduceResult is what `dither bench allreduce --json` prints.
type allreduceResult struct {
	Trainers int     `json:"trainers"`
	Floats   int     `json:"floats"`
	MS       float64 `json:"ms"`
	MSMin    float64 `json:"ms_min"`
	BusGB    float64 `json:"bus_gb_per_s"`
}

func newBenchAllreduceCommand(a *app) *cobra.Command {
	r := allreduceResult{}
	var times int
	cmd := &cobra.Command{Use: "allreduce", Short: "Time the all-reduce between trainers in this process, over gRPC", Args: noArgs, Example: "  dither bench allreduce --trainers 2 --floats 855770 --json"}
	cmd.Flags().IntVar(&r.Trainers, "trainers", 2, "trainers, a shard each")
	cmd.Flags().IntVar(&r.Floats, "floats", 855770, "float32 numbers to sum")
	cmd.Flags().IntVar(&times, "times", 20, "how often, after three that are not timed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.Trainers < 1 || r.Floats < 1 || times < 1 {
			return badInputf("--trainers %d --floats %d --times %d: all must be positive", r.Trainers, r.Floats, times)
		}
		ms, err := allreduce.Bench(cmd.Context(), r.Trainers, r.Floats, times+3)
		if err != nil {
			return err
		}
		ms = ms[3:]
		slices.Sort(ms)
		r.MS, r.MSMin = median(ms), ms[0]
		n := float64(r.Trainers)
		r.BusGB = 2 * (n - 1) / n * float64(r.Floats) * 4 / r.MS * 1e-6
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%d trainers, %d floats: %.2f ms (least %.2f), %.2f GB/s on the bus\n", r.Trainers, r.Floats, r.MS, r.MSMin, r.BusGB)
		})
	}
	return cmd
}
