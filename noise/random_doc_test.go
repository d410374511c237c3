package noise

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// arguments of one example of docs/random.md, read in order.
type arguments struct {
	t    *testing.T
	left []string
}

func (a *arguments) next() string {
	a.t.Helper()
	if len(a.left) == 0 {
		a.t.Fatal("an example has too few arguments")
	}
	s := a.left[0]
	a.left = a.left[1:]
	return s
}

func (a *arguments) integer() uint64 {
	v, err := strconv.ParseUint(a.next(), 10, 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

func (a *arguments) step() uint32 { return uint32(a.integer()) }

func (a *arguments) word() uint32 {
	v, err := strconv.ParseUint(a.next(), 16, 32)
	if err != nil {
		a.t.Fatal(err)
	}
	return uint32(v)
}

func (a *arguments) float() float64 {
	v, err := strconv.ParseFloat(a.next(), 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

func hex(b [4]uint32) string { return fmt.Sprintf("%08x %08x %08x %08x", b[0], b[1], b[2], b[3]) }

func short(xs []float32) string {
	s := make([]string, len(xs))
	for i, x := range xs {
		s[i] = strconv.FormatFloat(float64(x), 'g', -1, 32)
	}
	return strings.Join(s, " ")
}

// examples compute what docs/random.md says, for each kind of its lines.
var examples = map[string]func(a *arguments) string{
	"philox": func(a *arguments) string {
		return hex(philox.Block([2]uint32{a.word(), a.word()}, [4]uint32{a.word(), a.word(), a.word(), a.word()}))
	},
	"block": func(a *arguments) string {
		return hex(philox.At(a.integer(), philox.Purpose(a.step()), a.step(), a.step(), a.step()))
	},
	"unit":  func(a *arguments) string { return fmt.Sprint(philox.Unit(a.word(), a.word())) },
	"below": func(a *arguments) string { return fmt.Sprint(philox.Below(a.word(), a.word(), a.step())) },
	"normals": func(a *arguments) string {
		z := elementary.Normals([4]uint32{a.word(), a.word(), a.word(), a.word()})
		return fmt.Sprint(z[0], z[1], z[2], z[3])
	},
	"gaussian":  func(a *arguments) string { return noisy(a, "gaussian:sigma2=") },
	"symmetric": func(a *arguments) string { return noisy(a, "symmetric:p=") },
	"permutation": func(a *arguments) string {
		seed, purpose, step := a.integer(), philox.Purpose(a.step()), a.step()
		items := make([]int, a.integer())
		for i := range items {
			items[i] = i
		}
		for i := len(items) - 1; i >= 1; i-- {
			w := philox.At(seed, purpose, step, 0, uint32(i))
			j := philox.Below(w[0], w[1], uint32(i+1))
			items[i], items[j] = items[j], items[i]
		}
		return strings.Trim(fmt.Sprint(items), "[]")
	},
	"view": func(a *arguments) string {
		seed, epoch, sample, offsets := a.integer(), a.step(), a.step(), 2*a.step()+1
		w := philox.At(seed, philox.Augment, epoch, sample, 0)
		return fmt.Sprint(philox.Below(w[0], w[1], offsets), philox.Below(w[2], w[3], offsets), philox.At(seed, philox.Augment, epoch, sample, 1)[0]&1)
	},
	"init": func(a *arguments) string {
		seed, number, fanIn := a.integer(), a.step(), a.float()
		weights := make([]float32, a.integer())
		for e := range weights {
			z := elementary.Normals(philox.At(seed, philox.Init, 0, number, uint32(e/4)))
			weights[e] = float32(z[e%4] * math.Sqrt(2/fanIn))
		}
		return short(weights)
	},
	"perturb": func(a *arguments) string {
		seed, draw, number, sd := a.integer(), a.step(), a.step(), a.float()
		var out []float32
		for e := 0; len(a.left) > 0; e++ {
			z := elementary.Normals(philox.At(seed, philox.Perturbation, draw, number, uint32(e/4)))
			product := sd * z[e%4]
			out = append(out, float32(a.float()+float64(product)))
		}
		return short(out)
	},
}

// noisy asks a built-in noise.
func noisy(a *arguments, kind string) string {
	seed, iteration, sample := a.integer(), a.step(), a.step()
	n := typed(a.t, kind+a.next())
	var logits []float32
	for len(a.left) > 0 {
		logits = append(logits, float32(a.float()))
	}
	return short(perturb(a.t, n, seed, iteration, []uint32{sample}, logits))
}

func TestExamplesOfTheLayout(t *testing.T) {
	path := filepath.Join("..", "docs", "random.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(page), "```examples\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !closed {
		t.Fatalf("%s has no block of examples", path)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(block) {
		question, want, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		words := strings.Fields(question)
		compute := examples[words[0]]
		if compute == nil {
			t.Errorf("%s: no such example: %s", path, line)
			continue
		}
		seen[words[0]] = true
		a := &arguments{t, words[1:]}
		if got := compute(a); got != want || len(a.left) > 0 {
			t.Errorf("%s: %s -> %s, the page says %q", path, question, got, want)
		}
	}
	for name := range examples {
		if !seen[name] {
			t.Errorf("%s has no example of %s", path, name)
		}
	}
}
