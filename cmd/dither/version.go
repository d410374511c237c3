package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

// version is what `make build` says the source is: a tag, or a commit.
var version string

// versionString names the source that this program was built from.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
		if v := info.Main.Version; v != "" && v != "(devel)" {
			return v
		}
	}
	return "unknown"
}

type versionResult struct {
	Version    string   `json:"version"`
	Go         string   `json:"go"`
	Platform   string   `json:"platform"`
	KernelSets []string `json:"kernel_sets"` // that this processor can run, the slowest first
	Arithmetic string   `json:"arithmetic"`
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which dither this is",
		Example: "  dither version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := versionResult{versionString(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, cpu.Available(), cpu.Arithmetic}
			return a.result(r, func(w io.Writer) {
				fmt.Fprintf(w, "dither %s (%s, %s)\nkernels %s, arithmetic %s\n", r.Version, r.Go, r.Platform, strings.Join(r.KernelSets, ", "), r.Arithmetic)
			})
		},
	}
}
