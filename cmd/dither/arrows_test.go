package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/dither-ml/dither"

// arrow says what one package of ours may import of ours. "x/..." stands for x and all below it.
type arrow struct {
	pkg     string
	imports []string
}

// arrows are all packages, lowest first; docs/architecture.md says what each is for. A package that is not here fails the test: it gets a row
// when it gets a reason.
var arrows = []arrow{
	{"proto/dither/v1", nil},
	{"noise/philox", nil},
	{"noise/elementary", nil},
	{"noise", []string{"noise/philox", "noise/elementary", "proto/..."}},
	{"dataloader/matfile/...", []string{"dataloader/matfile/..."}},
	{"dataloader", []string{"dataloader/matfile/...", "noise/philox", "proto/..."}},

	// The suite holds the kinds that draw to the bits of package noise.
	{"trainer/kernel/kerneltest", []string{"noise", "trainer/kernel/..."}},
	// Losses need exp and log with fixed bits, and a noise is drawn where the logits are.
	{"trainer/kernel/...", []string{"noise/philox", "noise/elementary", "trainer/kernel/..."}},
	{"trainer/model", []string{"trainer/kernel"}},
	{"trainer/program", []string{"trainer/model", "trainer/kernel/..."}},
	{"trainer/optim", []string{"trainer/kernel/..."}},
	{"trainer/checkpoint", []string{"trainer/kernel/..."}},
	// Losses, probabilities and the bootstrap need exp and log with fixed bits.
	{"trainer/evaluation", []string{"noise/elementary"}},
	{"trainer/stability", []string{"noise/philox", "noise/elementary"}},
	{"trainer/allreduce/...", []string{"trainer/kernel/...", "trainer/allreduce/...", "proto/..."}},
	// The samples of the regression are normals with fixed bits.
	{"trainer/ols", []string{"noise/philox", "noise/elementary"}},
	{"noise/teacher", []string{"noise", "dataloader", "trainer/model", "trainer/program", "trainer/kernel/...", "trainer/checkpoint", "proto/..."}},
	{"trainer", []string{"trainer/...", "dataloader", "noise/...", "proto/..."}},

	{"coordinator/quorum", nil},
	{"coordinator/runlog", nil},
	{"coordinator/membership", []string{"proto/..."}},
	{"coordinator/study", []string{"proto/...", "coordinator/runlog"}},
	{"coordinator/report/chart", nil},
	{"coordinator/report", []string{"coordinator/runlog", "coordinator/report/chart", "coordinator/study", "proto/..."}},
	{"coordinator/dashboard", []string{"coordinator/runlog"}},
	{"coordinator", []string{"coordinator/...", "proto/..."}},

	{"cmd/dither/chaos", nil},
	{"cmd/dither/scale", []string{"trainer/allreduce"}},
	// Whole runs in one process: trainers and coordinators meet here, without a wire.
	{"cmd/dither/simulation", []string{"coordinator/...", "trainer/...", "proto/..."}},
	{"cmd/dither", []string{"..."}},
	// Programs that show how to do something: they see what a user sees.
	{"noise/examples/...", []string{"noise/...", "proto/..."}},
}

// testArrows are what tests may import besides: what reads the numbers to which they compare.
var testArrows = []arrow{
	{"trainer/program", []string{"trainer/checkpoint"}},
}

// reserved are libraries that only some packages may import; a library is the longest prefix.
var reserved = []arrow{
	{"gorgonia.org", []string{"trainer/model", "trainer/program"}},
	{"gorgonia.org/cu", []string{"trainer/kernel/cuda"}},
	{"go.etcd.io", []string{"coordinator/membership"}},
	{"google.golang.org/grpc", []string{"proto/...", "noise/...", "dataloader", "trainer", "trainer/allreduce/...", "coordinator/...", "cmd/dither", "cmd/dither/simulation"}},
	{"github.com/spf13/cobra", []string{"cmd/dither"}},
	{"github.com/vbauerster/mpb", []string{"cmd/dither"}},
}

// standardOnly are packages whose worth is that nothing but Go's own library is needed to understand them.
var standardOnly = []string{"noise/philox", "noise/elementary", "coordinator/quorum", "coordinator/runlog"}

// TestImportArrows reads every file, whatever its build tags, and holds its imports to the tables. Tests are held to them as well, but may use any library.
func TestImportArrows(t *testing.T) {
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			// _asm and .ci hold modules of their own.
			if file != root && (name == "testdata" || name == "runs" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			checked++
			if refusal := refuse(pkg, target, strings.HasSuffix(name, "_test.go")); refusal != "" {
				t.Errorf("%s: %s", rel, refusal)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Fatal("no import was found: the test looks in the wrong place")
	}
}

// refuse says why pkg must not import target; "" where it may.
func refuse(pkg, target string, test bool) string {
	if ours, ok := strings.CutPrefix(target, modulePath+"/"); ok {
		i := slices.IndexFunc(arrows, func(a arrow) bool { return within(pkg, a.pkg) })
		if i < 0 {
			return fmt.Sprintf("package %s has no row in arrows: say there what it may import", pkg)
		}
		if ours == pkg || slices.ContainsFunc(arrows[i].imports, func(p string) bool { return within(ours, p) }) {
			return ""
		}
		if test && slices.ContainsFunc(testArrows, func(a arrow) bool { return a.pkg == pkg && slices.Contains(a.imports, ours) }) {
			return ""
		}
		return fmt.Sprintf("%s must not import %s, only %v", pkg, ours, arrows[i].imports)
	}
	first, _, _ := strings.Cut(target, "/")
	if test || !strings.Contains(first, ".") {
		return ""
	}
	if slices.Contains(standardOnly, pkg) {
		return fmt.Sprintf("%s is to need the standard library alone, but imports %s", pkg, target)
	}
	longest := arrow{}
	for _, r := range reserved {
		if within(target, r.pkg+"/...") && len(r.pkg) > len(longest.pkg) {
			longest = r
		}
	}
	if longest.pkg == "" || slices.ContainsFunc(longest.imports, func(p string) bool { return within(pkg, p) }) {
		return ""
	}
	return fmt.Sprintf("%s must not import %s: that is for %v", pkg, target, longest.imports)
}

// within says whether pkg is pattern, or below it where pattern ends in "/...".
func within(pkg, pattern string) bool {
	if pattern == "..." {
		return true
	}
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == tree || strings.HasPrefix(pkg, tree+"/")
	}
	return pkg == pattern
}

// TestArrowsRefuse shows the test above what it is there to see.
func TestArrowsRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, target string
		test, bad   bool
	}{
		{"coordinator", modulePath + "/trainer", false, true},
		{"coordinator/quorum", modulePath + "/trainer/optim", true, true},
		{"trainer", modulePath + "/coordinator/membership", false, true},
		{"trainer", modulePath + "/proto/dither/v1", false, false},
		{"trainer", modulePath + "/trainer/kernel/cpu", false, false},
		{"trainer/kernel/cpu", modulePath + "/trainer/program", false, true},
		{"trainer/program", modulePath + "/trainer/checkpoint", true, false},
		{"trainer/program", modulePath + "/trainer/checkpoint", false, true},
		{"trainer/unheardof", modulePath + "/noise", false, true},
		{"noise/philox", "golang.org/x/sys/cpu", false, true},
		{"noise/philox", "math/bits", false, false},
		{"trainer/kernel/cpu", "gorgonia.org/cu", false, true},
		{"trainer/kernel/cuda", "gorgonia.org/cu", false, false},
		{"trainer/kernel/cuda", "gorgonia.org/gorgonia", false, true},
		{"trainer", "go.etcd.io/etcd/client/v3", false, true},
		{"trainer", "pgregory.net/rapid", true, false},
		{"cmd/dither", modulePath + "/coordinator", false, false},
	} {
		if got := refuse(c.pkg, c.target, c.test); (got != "") != c.bad {
			t.Errorf("refuse(%s, %s, test %v) = %q, want a refusal: %v", c.pkg, c.target, c.test, got, c.bad)
		}
	}
}
