package study

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Read says where each run of a study stands, from its folder, in the order of runs. The second value names, in words, each folder in runs/ that is no run of the study, and what differs from the
// run that is nearest to it: a study whose spec changed has such folders. Runs may be going on.
func Read(dir string, runs []Run) ([]Outcome, []string, error) {
	var outcomes []Outcome
	var unmatched []string
	planned := map[string]bool{}
	for _, r := range runs {
		planned[path.Base(r.Folder)] = true
		o, foreign := read(dir, r)
		if foreign != nil {
			unmatched = append(unmatched, difference(r.Folder, foreign, runs))
		}
		outcomes = append(outcomes, o)
	}
	entries, err := os.ReadDir(filepath.Join(dir, RunsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("reading a study's runs: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || planned[e.Name()] {
			continue
		}
		folder := RunsDir + "/" + e.Name()
		switch spec, err := readSpec(filepath.Join(dir, folder)); {
		case err != nil:
			unmatched = append(unmatched, fmt.Sprintf("%s is no run of this study: %v", folder, err))
		default:
			unmatched = append(unmatched, difference(folder, spec, runs))
		}
	}
	return outcomes, unmatched, nil
}

// readSpec reads a run's spec.yaml.
func readSpec(folder string) (*ditherv1.RunSpec, error) {
	text, err := os.ReadFile(filepath.Join(folder, runlog.SpecFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there", runlog.SpecFile)
	}
	if err != nil {
		return nil, err
	}
	file := &ditherv1.RunFile{}
	if err := fromYAML(text, file); err != nil {
		return nil, fmt.Errorf("%s: %w", runlog.SpecFile, err)
	}
	if file.Spec == nil {
		return nil, fmt.Errorf("%s has no spec", runlog.SpecFile)
	}
	return file.Spec, nil
}

// mostDifferences are named; who wants all has both files.
const mostDifferences = 4

// difference says how the run in a folder differs from the nearest of a study.
func difference(folder string, spec *ditherv1.RunSpec, runs []Run) string {
	if len(runs) == 0 {
		return folder + " is no run of this study, which has none"
	}
	var nearest Run
	var fewest []string
	for i, r := range runs {
		if d := ditherv1.Differences(r.Spec, spec); i == 0 || len(d) < len(fewest) {
			nearest, fewest = r, d
		}
	}
	more := ""
	if len(fewest) > mostDifferences {
		more = fmt.Sprintf("; and %d more", len(fewest)-mostDifferences)
		fewest = fewest[:mostDifferences]
	}
	if len(fewest) == 0 {
		return fmt.Sprintf("%s is the run of %s, which belongs in %s", folder, nearest, nearest.Folder)
	}
	return fmt.Sprintf("%s is no run of this study: beside that of %s (here), the folder's (there) has: %s%s", folder, nearest, strings.Join(fewest, "; "), more)
}

// String names a run for people.
func (r Run) String() string {
	return fmt.Sprintf("%s, batch %d, lr %.6g, seed %d, phase %s", noiseName(r.Spec.GetNoise()), r.Spec.GetBatch(), r.Spec.GetOptimizer().GetLr(), r.Seed, r.Phase)
}

// ReadRun says where one run stands.
func ReadRun(dir string, r Run) Outcome {
	o, _ := read(dir, r)
	return o
}

// read says where a run stands. foreign is the spec of another run that is in its folder.
func read(dir string, r Run) (o Outcome, foreign *ditherv1.RunSpec) {
	folder := filepath.Join(dir, r.Folder)
	o = Outcome{Run: r, State: Missing}
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	o.State = Partial
	spec, err := readSpec(folder)
	switch {
	case err != nil: // killed while it was made
		o.Reason = err.Error()
		return o, nil
	case ditherv1.Hash(spec) != r.Hash:
		o.State, o.Reason = Failed, fmt.Sprintf("the folder %s holds another run; move it away", r.Folder)
		return o, spec
	}
	record, err := runlog.Read(folder)
	if errors.Is(err, runlog.ErrNoRun) {
		return o, nil
	}
	if err != nil { // one folder that cannot be read does not hide the others
		o.State, o.Reason = Failed, err.Error()
		return o, nil
	}
	o.Epochs = epochs(r, record)
	judge(&o, record.Result)
	return o, nil
}

// judge settles the state and the numbers. A run is finished only if it is this very run, to its last iteration, and all that its phase measures is there.
func judge(o *Outcome, result *runlog.Result) {
	switch {
	case result == nil:
		return
	case result.Phase == "failed" && result.Diverged:
		o.State, o.Reason = Diverged, result.Reason
		return
	case result.Phase == "failed":
		o.State, o.Reason = Failed, result.Reason
		return
	case result.Phase != "finished":
		o.Reason = result.Reason
		return
	case result.SpecSHA256 != o.Hash:
		o.State, o.Reason = Failed, fmt.Sprintf("result.json is of another run (spec sha256 %.16s); move the folder away", result.SpecSHA256)
		return
	case result.Iterations != o.Spec.GetIterations():
		o.Reason = fmt.Sprintf("%d of %d iterations are done", result.Iterations, o.Spec.GetIterations())
		return
	}
	o.ImagesPerSecond, o.ParametersSHA256 = result.ImagesPerSecond, result.ParametersSHA256
	if why, diverged := o.take(result); why != "" {
		o.State, o.Reason = Partial, why
		if diverged {
			o.State = Diverged
		}
		return
	}
	o.State = Finished
}

// take takes over what the phase measures; why says what is not there, or is no number (diverged: an update after the last loss that was looked at broke the parameters).
// Test numbers of the phase select are left alone: nobody can choose by what nobody read.
func (o *Outcome) take(r *runlog.Result) (why string, diverged bool) {
	if n := len(o.Epochs); n > 0 {
		last := o.Epochs[n-1].TrainingLoss
		o.TrainingLoss = &last
	} else {
		return "the record of its iterations is not there", false
	}
	if o.Phase == Select {
		o.ValidationAccuracy = r.ValidationAccuracy
		if r.ValidationAccuracy == nil {
			return "its validation accuracy is not there", false
		}
		return "", false
	}
	o.TestAccuracy, o.TestLoss = r.TestAccuracy, r.TestLoss
	switch {
	case r.TestAccuracy == nil:
		return "its test accuracy is not there", false
	case r.TestLoss == nil:
		return "its test loss is no number", true
	case o.Run.GradientNormImages == 0:
		return "", false
	case r.GradientNormImages == nil || *r.GradientNormImages != o.Run.GradientNormImages:
		have := 0
		if r.GradientNormImages != nil {
			have = *r.GradientNormImages
		}
		return fmt.Sprintf("its gradient norm is over %d training images and the study wants %d", have, o.Run.GradientNormImages), false
	case r.GradientNorm == nil:
		return "its gradient norm is no number", true
	}
	o.GradientNorm, o.GradientNormImages = r.GradientNorm, *r.GradientNormImages
	return "", false
}

// epochs are the curves of a run as far as it is recorded; a last part of an epoch is a point too, and its training loss is over the iterations of a whole epoch that end there.
func epochs(r Run, record *runlog.Record) []Epoch {
	per := uint32(r.PerEpoch)
	its := record.Iterations
	if per == 0 || len(its) == 0 {
		return nil
	}
	var out []Epoch
	at := map[uint32]int{}
	last := its[len(its)-1].Iteration
	for k := min(per, last); ; k = min(k+per, last) {
		end, _ := slices.BinarySearchFunc(its, k+1, byIteration)
		start, _ := slices.BinarySearchFunc(its, k+1-min(per, k), byIteration)
		sum := 0.0
		for _, it := range its[start:end] {
			sum += it.Loss
		}
		if k%per == 0 || r.Spec.GetIterations() == k { // not the epoch that is going on
			at[k] = len(out)
			out = append(out, Epoch{Epoch: float64(k) / float64(per), TrainingLoss: sum / float64(end-start)})
		}
		if k == last {
			break
		}
	}
	for _, e := range record.Events {
		i, there := at[e.Iteration]
		if e.Kind != runlog.KindEvaluation || !there {
			continue
		}
		switch {
		case e.Split == "validation":
			out[i].Validation = e.Accuracy
		case e.Split == "test" && r.Phase == Refit:
			out[i].TestAccuracy, out[i].TestLoss = e.Accuracy, e.Loss
		}
	}
	return out
}

func byIteration(it runlog.Iteration, k uint32) int { return int(int64(it.Iteration) - int64(k)) }
