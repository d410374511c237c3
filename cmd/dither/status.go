package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

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
	fmt.Fprintf(out, "iteration %d of %d, loss %.4g, %.3g images/s\n", s.GetIteration(), s.GetIterations(), s.GetLoss(), s.GetImagesPerSecond())
	fmt.Fprintf(out, "generation %d", s.GetGeneration())
	if s.GetGenerationReason() != "" {
		fmt.Fprintf(out, ": %s", s.GetGenerationReason())
	}
	fmt.Fprintln(out)
	for _, note := range s.GetNotes() {
		fmt.Fprintf(out, "note: %s\n", note)
	}
	if s.GetCoordinator() != "" {
		fmt.Fprintf(out, "coordinator at %s\n", s.GetCoordinator())
	}
	var rows [][]string
	for _, m := range s.GetMembers() {
		rows = append(rows, []string{m.GetId(), m.GetRole(), shardsOf(m), m.GetDoing(), fmt.Sprint(m.GetIterations()), m.GetKernelSet(), m.GetAddress(), m.GetProcess()})
	}
	if len(rows) > 0 {
		fmt.Fprintln(out)
		table(out, []string{"id", "role", "shards", "doing", "iterations", "kernels", "address", "process"}, rows)
	}
}

// shardsOf is what a trainer of the generation computes, for people; "-" for whoever computes none.
func shardsOf(m *ditherv1.Member) string {
	switch first, end := m.GetFirstShard(), m.GetEndShard(); {
	case end == 0:
		return "-"
	case end == first+1:
		return fmt.Sprint(first)
	default:
		return fmt.Sprintf("%d to %d", first, end-1)
	}
}
