package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

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

// warmups are the iterations that are not timed.
const warmups = 3

func newBenchAllreduceCommand(a *app) *cobra.Command {
	b := allreduce.Bench{}
	var times int
	cmd := &cobra.Command{Use: "allreduce", Short: "Time the all-reduce between trainers, processes of this host", Args: noArgs, Example: "  dither bench allreduce --trainers 2 --floats 855770 --json"}
	cmd.Flags().IntVar(&b.Trainers, "trainers", 2, "trainers, a process and a shard each")
	cmd.Flags().IntVar(&b.Floats, "floats", 855770, "float32 numbers to sum")
	cmd.Flags().IntVar(&times, "times", 20, "how often, after three that are not timed")
	cmd.Flags().StringVar(&b.Folder, "folder", "", "of the sockets")
	cmd.Flags().IntVar(&b.Rank, "rank", 0, "be this trainer, with --folder")
	cmd.Flags().MarkHidden("folder")
	cmd.Flags().MarkHidden("rank")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if b.Trainers < 1 || b.Floats < 1 || times < 1 {
			return badInputf("--trainers %d --floats %d --times %d: all must be positive", b.Trainers, b.Floats, times)
		}
		if b.Iterations = times + warmups; b.Folder != "" {
			ms, err := b.Run(cmd.Context())
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(ms)
		}
		ms, err := benchAllreduce(cmd.Context(), b, times)
		if err != nil {
			return err
		}
		ms = ms[warmups:]
		slices.Sort(ms)
		r := allreduceResult{Trainers: b.Trainers, Floats: b.Floats, MS: median(ms), MSMin: ms[0]}
		n := float64(r.Trainers)
		r.BusGB = 2 * (n - 1) / n * float64(r.Floats) * 4 / r.MS * 1e-6
		return a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%d trainers, %d floats: %.2f ms (least %.2f), %.2f GB/s on the bus\n", r.Trainers, r.Floats, r.MS, r.MSMin, r.BusGB)
		})
	}
	return cmd
}

// benchAllreduce runs a process for each trainer and gives the milliseconds of rank 0.
func benchAllreduce(ctx context.Context, b allreduce.Bench, times int) (ms []float64, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to run it as trainers: %w", err)
	}
	folder, err := os.MkdirTemp("", "dither-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the sockets: %w", err)
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outputs, errors, ended := make([]bytes.Buffer, b.Trainers), make([]bytes.Buffer, b.Trainers), make(chan error, b.Trainers)
	for rank := range b.Trainers {
		trainer := exec.CommandContext(ctx, program, "bench", "allreduce", "--folder", folder, "--rank", fmt.Sprint(rank),
			"--trainers", fmt.Sprint(b.Trainers), "--floats", fmt.Sprint(b.Floats), "--times", fmt.Sprint(times))
		trainer.Stdout, trainer.Stderr = &outputs[rank], &errors[rank]
		go func() {
			if err := trainer.Run(); err != nil {
				ended <- fmt.Errorf("trainer of rank %d: %w: %s", rank, err, strings.TrimSpace(errors[rank].String()))
				return
			}
			ended <- nil
		}()
	}
	for range b.Trainers {
		if e := <-ended; e != nil && err == nil {
			err = e
			cancel() // the others would wait for it
		}
	}
	if err != nil {
		return nil, err
	}
	return ms, json.Unmarshal(outputs[0].Bytes(), &ms)
}
