package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dither-ml/dither/coordinator/runlog"
)

const spec = `# the identity of the run
spec:
  dataset: {name: digits, classes: 10}
  model: {name: resnet8, shortcut: A}
  noise: {kind: gaussian, parameters: {sigma2: 1}}
  batch: 64
  iterations: 400
options:
  command: [dither, run, --noise, "gaussian:sigma2=1", --out, "a b<script>"]
`

func pointer[T any](v T) *T { return &v }

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// made is the folder of a run that has got so far; its numbers are invented.
func made(t *testing.T, dir string, iterations int, result *runlog.Result) string {
	t.Helper()
	l, err := runlog.Create(dir)
	must(t, err, os.WriteFile(filepath.Join(dir, runlog.SpecFile), []byte(spec), 0o666))
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	event := func(k int, e runlog.Event) {
		e.Time, e.Iteration = start.Add(time.Duration(k)*time.Second), uint32(k)
		must(t, l.Event(e))
	}
	event(0, runlog.Event{Kind: runlog.KindStatus, Message: "waiting: waiting for 1 more trainer (1 of 2 have joined)"})
	event(0, runlog.Event{Kind: runlog.KindGeneration, Message: "2 trainers have joined: a owns shards 0-1, b owns shards 2-3", Generation: 1})
	for k := 1; k <= iterations; k++ {
		x := float64(k) / 400
		wobble := 0.2 * math.Sin(float64(7*k)) * math.Cos(float64(k*k))
		must(t, l.Iteration(runlog.Iteration{Iteration: uint32(k), Loss: math.Exp(5*(1-x)+wobble) + 1, Accuracy: min(1, max(0, 1-math.Exp(-4*x)+wobble/4)), LR: 0.1, Seconds: 0.31, ImagesPerSecond: 206, Generation: 1}))
		if k%50 == 0 {
			event(k, runlog.Event{Kind: runlog.KindEvaluation, Split: "test", Images: 360, Accuracy: pointer(0.97 * (1 - math.Exp(-5*x))), Loss: pointer(2 * math.Exp(-3*x)), Message: "test accuracy over 360 images"})
			event(k, runlog.Event{Kind: runlog.KindEvaluation, Split: "validation", Images: 287, Accuracy: pointer(0.95 * (1 - math.Exp(-5*x))), Message: "validation"})
			event(k, runlog.Event{Kind: runlog.KindEvaluation, Split: "train", Images: 1000, GradientNorm: pointer(9000 - 5000*x), Message: "gradient norm"})
		}
		if k%100 == 0 {
			event(k, runlog.Event{Kind: runlog.KindCheckpoint, Message: "a checkpoint is on disk", Path: fmt.Sprintf("checkpoints/%d.safetensors", k)})
		}
	}
	must(t, l.Close())
	if result != nil {
		must(t, runlog.WriteResult(dir, *result))
	}
	return dir
}

func finished() *runlog.Result {
	return &runlog.Result{
		Phase: "finished", Reason: "all iterations are applied", Iterations: 400, ParametersSHA256: strings.Repeat("0123456789abcdef", 4), SpecSHA256: strings.Repeat("fedcba98", 8),
		Arithmetic: "cpu/2", KernelSets: []string{"generic"}, TrainLoss: pointer(1.987), TestAccuracy: pointer(0.9639), TestLoss: pointer(0.1234), GradientNorm: pointer(4012.5), GradientNormImages: pointer(1437),
		TeacherGradientNorm: pointer(7393.0), Seconds: 131, ImagesPerSecond: 205.7, Generations: 1, DataOfficial: true,
	}
}

// written is the page of a run.
func written(t *testing.T, dir string, o Options) string {
	t.Helper()
	path, err := o.Write(dir)
	must(t, err)
	if want := filepath.Join(dir, "report.html"); path != want {
		t.Fatalf("the page is %s, not %s", path, want)
	}
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// holds fails where page lacks one of the texts.
func holds(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page has no %q", text)
		}
	}
}

func TestFinished(t *testing.T) {
	dir := made(t, filepath.Join(t.TempDir(), "run"), 400, finished())
	made(t, filepath.Join(dir, TeacherFolder), 200, &runlog.Result{Phase: "finished", Iterations: 200, TestAccuracy: pointer(0.9500), DataOfficial: true, ImagesPerSecond: 300, Seconds: 40})
	page := written(t, dir, Options{})
	holds(t, page, "finished: iteration 400 of 400; all iterations are applied", "<th scope=\"col\">teacher</th>", "<td>95.00\u00a0%</td><td>96.39\u00a0%</td>", "<td>7393 (1437 images)</td><td>4012.5 (1437 images)</td>",
		"<td>40.0 s</td><td>2m11s</td>", "sha256:0123456789abcdef", "2 trainers have joined: a owns shards 0-1", "checkpoints/400.safetensors", "sigma2: 1", "dither run --noise gaussian:sigma2=1 --out &#39;a b&lt;script&gt;&#39;",
		"arithmetic cpu/2, kernel sets generic, 1 generation, spec fedcba98")
	if strings.Contains(page, "<script") || strings.Contains(page, "--resume") || strings.Contains(page, "class=\"warning\"") {
		t.Error("the page has a script, a way to resume a finished run or a warning")
	}
	if strings.Contains(page, "src=") || strings.Contains(page, "url(") {
		t.Error("the page needs another file")
	}
	for _, name := range []string{"loss", "accuracy", "gradient-norm"} {
		checkSVG(t, filepath.Join(dir, FiguresFolder, name+".svg"))
	}
	if n := strings.Count(page, `role="img" aria-label="`); n != 3 {
		t.Errorf("%d pictures with a text", n)
	}
	if again := written(t, dir, Options{}); again != page {
		t.Error("the same folder gives another page")
	}
	if page := written(t, dir, Options{Command: []string{"dither", "run", "x"}}); !strings.Contains(page, "<pre class=\"command\">dither run x</pre>") {
		t.Error("the command that was given is not shown")
	}
}

// checkSVG: it is XML to its end, and its curves have points.
func checkSVG(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	paths := 0
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			paths++
		}
	}
	if paths < 10 {
		t.Errorf("%s has %d paths", path, paths)
	}
}

func TestUnfinished(t *testing.T) {
	dir := made(t, filepath.Join(t.TempDir(), "run"), 120, nil)
	page := written(t, dir, Options{})
	holds(t, page, "unfinished: iteration 120 of 400", "--resume "+dir, "<th scope=\"col\">network</th>", "<td>69.21\u00a0%</td>", "<td>37.2 s</td>")
	if strings.Contains(page, "teacher</th>") {
		t.Error("there is a teacher out of nowhere")
	}

	empty := made(t, filepath.Join(t.TempDir(), "empty"), 0, nil)
	must(t, os.Remove(filepath.Join(empty, runlog.SpecFile)))
	holds(t, written(t, empty, Options{}), "unfinished: iteration 0", "No iteration has been recorded.")
	if _, err := os.Stat(filepath.Join(empty, FiguresFolder)); err == nil {
		t.Error("figures of nothing")
	}

	one := made(t, filepath.Join(t.TempDir(), "one"), 1, nil)
	holds(t, written(t, one, Options{}), "unfinished: iteration 1 of 400", "<svg")
}

func TestFailed(t *testing.T) {
	dir := made(t, filepath.Join(t.TempDir(), "run"), 60, &runlog.Result{Phase: "failed", Reason: "the loss of iteration 61, shard 2, is NaN: lower --lr", Iterations: 60, DataOfficial: false})
	for name, line := range map[string]string{runlog.MetricsFile: `{"iteration":61,"loss":"NaN"}` + "\nwhat\n", runlog.SpecFile: "\t- not: [yaml"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(line)
		must(t, err, f.Close())
	}
	holds(t, written(t, dir, Options{}), "failed: iteration 60; the loss of iteration 61, shard 2, is NaN: lower --lr", "state failed", "checksums are not the official ones", "metrics.jsonl line 62: ", "not: [yaml", "<td>NaN</td>",
		"dither run "+filepath.Join(dir, "spec.yaml")+" --out "+dir+"-again")
}

func TestNoRun(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir); !errors.Is(err, runlog.ErrNoRun) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
