package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which dither this is",
		Example: "  dither version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := versionResult{versionString(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return a.result(r, func(w io.Writer) {
				fmt.Fprintf(w, "dither %s (%s, %s)\n", r.Version, r.Go, r.Platform)
			})
		},
	}
}
