package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"text/tabwriter"

	"golang.org/x/term"
)

// app is what every subcommand shares: where it writes, and how.
type app struct {
	stdout io.Writer    // results and nothing else
	stderr *console     // errors, logs and progress
	json   bool         // --json: a result is one JSON object
	log    *slog.Logger // what long-running roles tell; goes to stderr
}

func newApp(stdout, stderr io.Writer) *app {
	c := &console{out: stderr}
	return &app{stdout: stdout, stderr: c, log: slog.New(slog.NewTextHandler(c, nil))}
}

// result prints what a command has found: v as one JSON object on a line of its own with --json, else what human writes. A command calls it once.
func (a *app) result(v any, human func(w io.Writer)) error {
	var out strings.Builder
	if a.json {
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("put the result into JSON: %w", err)
		}
	} else {
		human(&out)
	}
	if _, err := io.WriteString(a.stdout, out.String()); err != nil {
		return fmt.Errorf("write the result to standard output: %w", err)
	}
	return nil
}

// progress shows how far long work is, on standard error.
func (a *app) progress(title string, total int) *Progress { return NewProgress(a.stderr, title, total) }

// table writes rows under a header, in columns.
func table(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
}

// console is standard error, shared by a progress bar and by lines: while a bar is shown, lines go above it.
type console struct {
	out io.Writer

	mu  sync.Mutex
	bar io.Writer // the shown bar, or nil
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		if n, err := c.bar.Write(b); err == nil {
			return n, nil
		}
		// The bar is gone: mpb takes nothing after its end.
	}
	return c.out.Write(b)
}

// show makes lines go through bar; nil ends that.
func (c *console) show(bar io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar = bar
}

// terminal says whether a person is likely to watch. A terminal without a size, as some job runners make, shows no bar.
func (c *console) terminal() bool {
	f, ok := c.out.(*os.File)
	if !ok {
		return false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0
}
