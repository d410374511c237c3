package study

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func pointer[T any](v T) *T { return &v }

// lay makes a run's folder as `dither run` leaves it after k iterations: loss 100/k, evaluations by epoch.
func lay(t *testing.T, dir string, r Run, k int, result *runlog.Result) {
	t.Helper()
	folder := filepath.Join(dir, r.Folder)
	l, err := runlog.Create(folder)
	must(t, err)
	laySpec(t, folder, r.Spec)
	for i := 1; i <= k; i++ {
		must(t, l.Iteration(runlog.Iteration{Iteration: uint32(i), Loss: 100 / float64(i)}))
		if i%r.PerEpoch == 0 {
			must(t, l.Event(runlog.Event{Kind: runlog.KindEvaluation, Iteration: uint32(i), Split: "validation", Accuracy: pointer(0.5)}),
				l.Event(runlog.Event{Kind: runlog.KindEvaluation, Iteration: uint32(i), Split: "test", Accuracy: pointer(0.25), Loss: pointer(2.0)}))
		}
	}
	must(t, l.Close())
	if result != nil {
		must(t, runlog.WriteResult(folder, *result))
	}
}

func laySpec(t *testing.T, folder string, s *ditherv1.RunSpec) {
	t.Helper()
	asJSON, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(&ditherv1.RunFile{Spec: s, Options: &ditherv1.RunOptions{EvalEvery: 1}})
	must(t, err)
	text, err := yaml.JSONToYAML(asJSON)
	must(t, err, os.MkdirAll(folder, 0o777), os.WriteFile(filepath.Join(folder, runlog.SpecFile), text, 0o666))
}

// complete is the result of a run to which nothing happened.
func complete(r Run) *runlog.Result {
	return &runlog.Result{Phase: "finished", Reason: "all is done", Iterations: r.Spec.GetIterations(), SpecSHA256: r.Hash, ParametersSHA256: "dd", ImagesPerSecond: 123, TestAccuracy: pointer(0.25),
		TestLoss: pointer(2.0), ValidationAccuracy: pointer(0.5), GradientNorm: pointer(7000.0), GradientNormImages: pointer(r.GradientNormImages)}
}

func studied(t *testing.T) (*ditherv1.StudySpec, []Run) {
	t.Helper()
	s := digits(ditherv1.DesignScales, Scales([]*ditherv1.NoiseSpec{NoNoise(), Gaussian(4)}, 64, 0.02))
	s.Seeds = s.Seeds[:2]
	runs, err := Plan(s, digitImages)
	must(t, err)
	return s, runs
}

func TestRead(t *testing.T) {
	_, runs := studied(t)
	sel, ref := runs[0], runs[1]
	full := int(ref.Spec.GetIterations())
	for name, c := range map[string]struct {
		run    Run
		lay    func(dir string, r Run)
		state  State
		reason string
	}{
		"no folder":           {ref, func(string, Run) {}, Missing, ""},
		"an empty folder":     {ref, func(dir string, r Run) { must(t, os.MkdirAll(filepath.Join(dir, r.Folder), 0o777)) }, Partial, "spec.yaml is not there"},
		"no record yet":       {ref, func(dir string, r Run) { laySpec(t, filepath.Join(dir, r.Folder), r.Spec) }, Partial, ""},
		"no result":           {ref, func(dir string, r Run) { lay(t, dir, r, full, nil) }, Partial, ""},
		"a finished refit":    {ref, func(dir string, r Run) { lay(t, dir, r, full, complete(r)) }, Finished, ""},
		"a finished select":   {sel, func(dir string, r Run) { lay(t, dir, r, int(r.Spec.GetIterations()), complete(r)) }, Finished, ""},
		"stopped by the user": {ref, altered(t, func(r *runlog.Result) { r.Phase, r.Reason = "stopped", "at the user's word" }), Partial, "at the user's word"},
		"failed":              {ref, altered(t, func(r *runlog.Result) { r.Phase, r.Reason = "failed", "the disk is full" }), Failed, "the disk is full"},
		"diverged":            {ref, altered(t, func(r *runlog.Result) { r.Phase, r.Diverged, r.Reason = "failed", true, "the loss is not finite" }), Diverged, "the loss is not finite"},
		"diverged at the end": {ref, altered(t, func(r *runlog.Result) { *r.TestLoss, *r.GradientNorm = math.NaN(), math.NaN() }), Diverged, "its test loss is no number"},
		"a norm of infinity":  {ref, altered(t, func(r *runlog.Result) { *r.GradientNorm = math.Inf(1) }), Diverged, "its gradient norm is no number"},
		"too few images":      {ref, altered(t, func(r *runlog.Result) { *r.GradientNormImages = 64 }), Partial, "over 64 training images and the study wants 1000"},
		"no gradient norm":    {ref, altered(t, func(r *runlog.Result) { r.GradientNorm, r.GradientNormImages = nil, nil }), Partial, "over 0 training images"},
		"not tested":          {ref, altered(t, func(r *runlog.Result) { r.TestAccuracy = nil }), Partial, "its test accuracy is not there"},
		"too short":           {ref, altered(t, func(r *runlog.Result) { r.Iterations-- }), Partial, "87 of 88 iterations are done"},
		"another's result":    {ref, altered(t, func(r *runlog.Result) { r.SpecSHA256 = strings.Repeat("e", 64) }), Failed, "of another run (spec sha256 eeeeeeeeeeeeeeee)"},
		"no held-out images":  {sel, altered(t, func(r *runlog.Result) { r.ValidationAccuracy = nil }), Partial, "its validation accuracy is not there"},
		"a broken result": {ref, func(dir string, r Run) {
			lay(t, dir, r, full, nil)
			must(t, os.WriteFile(filepath.Join(dir, r.Folder, runlog.ResultFile), []byte("{"), 0o666))
		}, Failed, "result.json"},
	} {
		dir := t.TempDir()
		c.lay(dir, c.run)
		outcomes, unmatched, err := Read(dir, runs)
		must(t, err)
		i := slices.IndexFunc(runs, func(r Run) bool { return r.Hash == c.run.Hash })
		o := outcomes[i]
		if o.State != c.state || (c.reason == "") != (o.Reason == "") || !strings.Contains(o.Reason, c.reason) || len(unmatched) != 0 {
			t.Errorf("%s: %s (%q), unmatched %v; not %s (%q)", name, o.State, o.Reason, unmatched, c.state, c.reason)
		}
		for j := range outcomes {
			if j != i && outcomes[j].State != Missing {
				t.Errorf("%s: another run is %s", name, outcomes[j].State)
			}
		}
	}
}

// altered lays a run whose result is not quite that of a finished one.
func altered(t *testing.T, change func(*runlog.Result)) func(string, Run) {
	return func(dir string, r Run) {
		result := complete(r)
		change(result)
		lay(t, dir, r, int(r.Spec.GetIterations()), result)
	}
}

func TestReadNumbers(t *testing.T) {
	_, runs := studied(t)
	dir := t.TempDir()
	sel, ref := runs[0], runs[1]
	lay(t, dir, sel, int(sel.Spec.GetIterations()), complete(sel))
	lay(t, dir, ref, int(ref.Spec.GetIterations()), complete(ref))
	o := ReadRun(dir, ref)
	mean := 0.0 // of 100/k over the last 22 of 88 iterations
	for k := 67; k <= 88; k++ {
		mean += 100 / float64(k) / 22
	}
	near(t, "training loss", *o.TrainingLoss, mean)
	if *o.GradientNorm != 7000 || o.GradientNormImages != 1000 || *o.TestAccuracy != 0.25 || *o.TestLoss != 2 || o.ValidationAccuracy != nil || o.ImagesPerSecond != 123 || o.ParametersSHA256 != "dd" {
		t.Errorf("the refit is %+v", o)
	}
	if len(o.Epochs) != 4 || o.Epochs[0].Epoch != 1 || *o.Epochs[3].TestLoss != 2 || *o.Epochs[0].TestAccuracy != 0.25 {
		t.Errorf("its curves are %+v", o.Epochs)
	}
	// Whatever the record says, nothing of the test images is read where something is chosen.
	o = ReadRun(dir, sel)
	if *o.ValidationAccuracy != 0.5 || o.TestAccuracy != nil || o.TestLoss != nil || o.GradientNorm != nil || o.Epochs[0].TestAccuracy != nil || o.Epochs[0].TestLoss != nil || *o.Epochs[0].Validation != 0.5 {
		t.Errorf("the select is %+v", o)
	}
}

func TestCurvesOfARunThatGoesOn(t *testing.T) {
	_, runs := studied(t)
	dir := t.TempDir()
	lay(t, dir, runs[1], 50, nil)
	if o := ReadRun(dir, runs[1]); o.State != Partial || len(o.Epochs) != 2 || o.TrainingLoss != nil {
		t.Errorf("after 50 iterations of 22 an epoch: %+v", o)
	}
	r := runs[3]
	r.Spec.Iterations = 55 // two epochs and a half
	r = known(r)
	lay(t, dir, r, 55, complete(r))
	o := ReadRun(dir, r)
	mean := 0.0
	for k := 34; k <= 55; k++ {
		mean += 100 / float64(k) / 22
	}
	if o.State != Finished || len(o.Epochs) != 3 || o.Epochs[2].Epoch != 2.5 {
		t.Fatalf("two epochs and a half: %+v", o)
	}
	near(t, "training loss", *o.TrainingLoss, mean)
}

// A study whose spec changed under its folder names the runs that are no longer its own.
func TestUnmatched(t *testing.T) {
	s, runs := studied(t)
	dir := t.TempDir()
	lay(t, dir, runs[3], 5, nil)
	must(t, os.MkdirAll(filepath.Join(dir, RunsDir, "stray"), 0o777))
	changed := proto.CloneOf(s)
	changed.Arms[1].Lr = 0.04
	now, err := Plan(changed, digitImages)
	must(t, err)
	outcomes, unmatched, err := Read(dir, now)
	must(t, err)
	want := []string{
		fmt.Sprintf("%s is no run of this study: beside that of gaussian sigma2=4, batch 64, lr 0.04, seed 1, phase refit (here), the folder's (there) has: optimizer.lr is 0.04 here and 0.02 there", runs[3].Folder),
		"runs/stray is no run of this study: spec.yaml is not there",
	}
	if !slices.Equal(unmatched, want) || slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.State != Missing }) {
		t.Errorf("unmatched are %q, not %q", unmatched, want)
	}
	// In the place of a run of the study.
	must(t, os.Rename(filepath.Join(dir, runs[3].Folder), filepath.Join(dir, now[3].Folder)))
	outcomes, unmatched, err = Read(dir, now)
	must(t, err)
	if outcomes[3].State != Failed || !strings.Contains(outcomes[3].Reason, "holds another run; move it away") || len(unmatched) != 2 || !strings.Contains(unmatched[0], "optimizer.lr is 0.04 here") {
		t.Errorf("a folder with another's spec: %s (%s), unmatched %q", outcomes[3].State, outcomes[3].Reason, unmatched)
	}
	if _, unmatched, err := Read(filepath.Join(dir, "nowhere"), now); err != nil || len(unmatched) != 0 {
		t.Errorf("no folder: %v, %v", unmatched, err)
	}
}

func TestFolder(t *testing.T) {
	s, _ := studied(t)
	dir := filepath.Join(t.TempDir(), "a", "study")
	if _, err := Load(dir); !errors.Is(err, ErrNoStudy) {
		t.Errorf("no folder: %v", err)
	}
	must(t, Save(dir, s))
	back, err := Load(dir)
	must(t, err)
	if !proto.Equal(back, s) || ditherv1.StudyHash(back) != ditherv1.StudyHash(s) {
		t.Errorf("saved as %v, loaded as %v", s, back)
	}
	text, err := os.ReadFile(filepath.Join(dir, SpecFile))
	must(t, err)
	golden(t, "study.yaml", text)
	for change, want := range map[string]string{"design: scales": "design", "sigma2: 4": "sigma2: -4", "    refresh: iteration\n": "    refesh: iteration\n"} {
		must(t, os.WriteFile(filepath.Join(dir, SpecFile), []byte(strings.Replace(string(text), change, want, 1)), 0o666))
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), SpecFile) {
			t.Errorf("%q for %q: %v", want, change, err)
		}
	}
	if err := Save(dir, &ditherv1.StudySpec{}); !errors.Is(err, ditherv1.ErrSpec) {
		t.Errorf("an empty study is saved: %v", err)
	}
	if teacher, err := LoadTeacher(dir); teacher != nil || err != nil {
		t.Errorf("no teacher: %v, %v", teacher, err)
	}
	must(t, SaveTeacher(dir, &Teacher{SHA256: "cc", Model: "mlp", GradientNorm: pointer(130000.5), GradientNormImages: 1000}))
	if teacher, err := LoadTeacher(dir); err != nil || *teacher.GradientNorm != 130000.5 || teacher.TestAccuracy != nil {
		t.Errorf("the teacher is %+v, %v", teacher, err)
	}
}
