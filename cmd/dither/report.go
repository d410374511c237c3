package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator/report"
)

func newReportCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "report DIR", Short: "Draw the figures and the page of a run", Args: oneArg("run folder"),
		Example: "  dither report runs/first",
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := report.Write(args[0])
			if err != nil {
				return badInput(err)
			}
			return a.result(map[string]string{"report": path}, func(w io.Writer) { fmt.Fprintln(w, path) })
		}}
}
