package runlog

import (
	"os"
	"path/filepath"
	"testing"
)

// What one writer recorded another adopts, once, in whatever state its own folder is.
func TestAdopt(t *testing.T) {
	first := t.TempDir()
	l, err := Create(first)
	must(t, err)
	var lines []Line
	l.Follow(func(line Line) { lines = append(lines, line) })
	loss := 0.5
	must(t, l.Event(Event{Kind: KindStatus, Message: "waiting"}))
	for k := uint32(1); k <= 4; k++ {
		must(t, l.Iteration(at(k)))
	}
	must(t, l.Event(Event{Kind: KindEvaluation, Split: "test", Iteration: 4, Loss: &loss}))
	must(t, l.Close())
	text := func(dir, name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		return string(b)
	}
	for name, has := range map[string]int{"an empty folder": 0, "a part": 2, "all": 4} {
		dir := t.TempDir()
		l, err := Create(dir)
		must(t, err)
		if has > 0 {
			must(t, l.Adopt(lines[:1]))
		}
		for k := 1; k <= has; k++ {
			must(t, l.Iteration(at(uint32(k))))
		}
		for range 2 {
			must(t, l.Adopt(lines))
		}
		all, err := l.Lines()
		must(t, err)
		if len(all) != len(lines) {
			t.Errorf("%s: %d lines, not %d", name, len(all), len(lines))
		}
		if l.Adopt([]Line{{MetricsFile, []byte("{")}}) == nil {
			t.Errorf("%s: half a line was adopted", name)
		}
		must(t, l.Close())
		for _, file := range []string{MetricsFile, EventsFile} {
			if got, want := text(dir, file), text(first, file); got != want {
				t.Errorf("%s: %s is\n%s\nnot\n%s", name, file, got, want)
			}
		}
	}
}
