package study

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The tables are a function of the runs' results: neither the order in which they came nor their times count.
func TestTables(t *testing.T) {
	spec := scales(t)
	spec.Seeds = spec.Seeds[:2]
	outcomes := invent(t, spec, paper)
	// One of each state.
	outcomes[3] = Outcome{Run: outcomes[3].Run, State: Diverged, Reason: "trainer trainer-0 (vm:6137): the loss is not finite"}
	outcomes[15] = Outcome{Run: outcomes[15].Run, State: Partial}
	teacher := &Teacher{SHA256: "cc", Model: "mlp", TestAccuracy: pointer(0.87), TestLoss: pointer(0.4), GradientNorm: pointer(130000.0), GradientNormImages: 1000}
	dir := t.TempDir()
	must(t, WriteTables(dir, Summarise(spec, teacher, outcomes)))
	files := map[string][]byte{}
	for _, name := range []string{ResultsFile, TableFile, RunsFile, SpeedFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		files[name] = b
		golden(t, name, b)
	}
	slices.Reverse(outcomes)
	for i := range outcomes {
		outcomes[i].ImagesPerSecond *= 1.5
		outcomes[i].Reason = "another process said it"
	}
	must(t, WriteTables(dir, Summarise(spec, teacher, outcomes)))
	for name, was := range files {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if same := string(b) == string(was); same != (name != SpeedFile) {
			t.Errorf("%s of the same results in another order and time: the same is %v", name, same)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 4 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTablesThatCannotBeWritten(t *testing.T) {
	spec := scales(t)
	s := Summarise(spec, nil, invent(t, spec, paper))
	if err := WriteTables(filepath.Join(t.TempDir(), "nowhere"), s); err == nil {
		t.Error("a folder that is not there takes tables")
	}
	s.Points[0].GradientNorm.Mean = math.Inf(1)
	if err := WriteTables(t.TempDir(), s); err == nil {
		t.Error("infinity was written as JSON")
	}
}
