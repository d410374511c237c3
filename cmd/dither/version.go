package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/kernel/cuda"
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
	Half       string   `json:"bf16_arithmetic"` // with --precision bf16; behind it comes the GPU's compute capability
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which dither this is",
		Example: "  dither version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := versionResult{versionString(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, cpu.Available(), cpu.Arithmetic, cuda.HalfArithmetic}
			return a.result(r, func(w io.Writer) {
				fmt.Fprintf(w, "dither %s (%s, %s)\nkernels %s, arithmetic %s; cuda by dither-gpu, arithmetic %s, or with --precision bf16 %s\n", r.Version, r.Go, r.Platform, strings.Join(r.KernelSets, ", "), r.Arithmetic, cuda.Arithmetic, r.Half)
			})
		},
	}
}
