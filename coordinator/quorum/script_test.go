package quorum

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the scripts give into testdata")

// Each file in testdata is a script: lines of commands up to a line "----", what the decision after them is, an empty line. State is
// kept from block to block; a decision is carried out as the coordinator would. `go test ./coordinator/quorum -update` rewrites the answers.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s gives\n%s", file, got)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	w := newWorld()
	var out strings.Builder
	answering := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "----":
			out.WriteString("----\n")
			out.WriteString(show(w.decide()))
			answering = true
		case answering && line != "": // the answer of an earlier time
		default:
			answering = false
			out.WriteString(line + "\n")
			if line != "" && !strings.HasPrefix(line, "#") {
				if err := w.command(strings.Fields(line)); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
		}
	}
	return out.String()
}
