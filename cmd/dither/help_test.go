package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandHasAnExample holds each command to a short text and to examples that it would accept.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := newRootCommand(newApp(io.Discard, io.Discard))
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s: no short text", cmd.CommandPath())
		}
		if cmd.Example == "" {
			t.Errorf("%s: no example", cmd.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", " ")) {
			checkExample(t, cmd, strings.TrimSpace(line))
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
}

// checkExample wants line to be a call of cmd or of a command below it, with flags that exist.
func checkExample(t *testing.T, cmd *cobra.Command, line string) {
	t.Helper()
	words := strings.Fields(strings.ReplaceAll(line, "'", ""))
	if len(words) == 0 || words[0] != "dither" {
		t.Errorf("%s: example %q does not begin with dither", cmd.CommandPath(), line)
		return
	}
	// A fresh tree, since parsing sets flags.
	found, rest, err := newRootCommand(newApp(io.Discard, io.Discard)).Find(words[1:])
	if err != nil {
		t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
		return
	}
	if path := found.CommandPath(); path != cmd.CommandPath() && !strings.HasPrefix(path, cmd.CommandPath()+" ") {
		t.Errorf("%s: example %q is of %s", cmd.CommandPath(), line, path)
	}
	if err := found.ParseFlags(rest); err != nil {
		t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
		return
	}
	if err := found.ValidateArgs(found.Flags().Args()); err != nil {
		t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
	}
}
