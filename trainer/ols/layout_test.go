package ols

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The draws are those that docs/random.md shows; package noise computes the page's examples again from its words alone.
func TestDrawsOfTheLayout(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "random.md"))
	if err != nil {
		t.Fatal(err)
	}
	plain := func(v any) string { return strings.Trim(fmt.Sprint(v), "[]") }
	seen := map[string]int{}
	for line := range strings.Lines(string(page)) {
		question, want, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		if !ok || !strings.HasPrefix(question, "ols-") {
			continue
		}
		var kind, way, got string
		var s Setting
		var at, count int64
		s.Refresh = Once
		scan := func(args ...any) {
			if _, err := fmt.Sscan(question, append([]any{&kind}, args...)...); err != nil {
				t.Fatalf("%s: %v", question, err)
			}
		}
		switch kind, _, _ = strings.Cut(question, " "); kind {
		case "ols-sample":
			scan(&s.Seed, &at, &count, &s.Sigma2)
			s.N, s.Batch, s.Eta, s.Sigma = int(at)+1, 1, 1, identity(int(count), 1)
			data, err := s.Draw()
			if err != nil {
				t.Fatal(err)
			}
			got = plain(append(data.X[at], data.Y[at]))
		case "ols-noise":
			scan(&s.Seed, &s.Stream, &at, &count)
			z := make([]float64, (count+3)/4*4)
			s.noiseAt(at, z)
			got = plain(z[:count])
		case "ols-batch":
			scan(&s.Seed, &s.Stream, &at, &s.N, &s.Batch, &way)
			s.Replacement = way == "with"
			got = plain(s.BatchAt(at))
		default:
			t.Fatalf("no such draw: %s", line)
		}
		seen[kind]++
		if got != want {
			t.Errorf("%s -> %s, the page says %s", question, got, want)
		}
	}
	if len(seen) != 3 {
		t.Errorf("the page shows %v", seen)
	}
}
