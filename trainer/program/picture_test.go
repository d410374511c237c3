package program

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/model"
)

var update = flag.Bool("update", false, "write what the passes do into testdata")

// Each pass has a picture, testdata/PASS.txt: the steps that it takes away (-) and puts in their place (+), in programs of a ResNet-8 that have gone
// through the passes before it. `go test ./trainer/program -update` draws them again.
func TestPassesDoWhatTheirPicturesShow(t *testing.T) {
	set := openCPU(t, 1)
	shape := model.Shape{Channels: 3, Height: 8, Width: 8, Classes: 10}
	mean, std := normalised(shape.Channels)
	spec := model.Spec{Name: "resnet8", Shortcut: "A", Shape: shape}
	programs := []struct {
		name  string
		steps func(*machine) []*Step
	}{
		{"training, BatchNorm over a shard, shortcut A", func(m *machine) []*Step {
			p, err := trainingOn(m, smallConfig(spec, 1, 2, "shard"))
			return must(t, p, err).steps
		}},
		{"training, BatchNorm over the batch, shortcut B", func(m *machine) []*Step {
			p, err := trainingOn(m, smallConfig(model.Spec{Name: "resnet8", Shortcut: "B", Shape: shape}, 1, 2, "global"))
			return must(t, p, err).steps
		}},
		{"inference", func(m *machine) []*Step {
			p, err := inferenceOn(m, spec, 2, mean, std, pad, nil)
			return must(t, p, err).steps
		}},
		{"squared norm", func(m *machine) []*Step {
			p, err := squaredNormOn(m, spec, 2, mean, std, pad)
			return must(t, p, err).steps
		}},
	}
	for i, one := range passes {
		t.Run(one.name, func(t *testing.T) {
			var text strings.Builder
			fmt.Fprintln(&text, "What the pass", one.name, "takes away (-) and puts in its place (+).")
			for _, p := range programs {
				after := func(passes []pass) (lines []string) {
					for _, s := range p.steps(machineWith(set, passes)) {
						lines = append(lines, s.String())
					}
					return lines
				}
				if was, is := after(passes[:i]), after(passes[:i+1]); !slices.Equal(was, is) {
					fmt.Fprintf(&text, "\n%s:\n", p.name)
					diff(&text, was, is)
				}
			}
			path := filepath.Join("testdata", strings.ReplaceAll(one.name, " ", "-")+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if text.String() != string(want) {
				t.Errorf("the pass does not do what %s shows; it does:\n%s", path, text.String())
			}
		})
	}
}

// diff writes the lines that differ, and a line of dots for those between that do not.
func diff(w *strings.Builder, a, b []string) {
	common := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j, same := 0, 0, false
	for i < len(a) || j < len(b) {
		if i < len(a) && j < len(b) && a[i] == b[j] {
			i, j, same = i+1, j+1, true
			continue
		}
		if same {
			fmt.Fprintln(w, "  ...")
			same = false
		}
		if j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1] {
			fmt.Fprintln(w, "-", a[i])
			i++
		} else {
			fmt.Fprintln(w, "+", b[j])
			j++
		}
	}
}

func must[P any](t *testing.T, p P, err error) P {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
