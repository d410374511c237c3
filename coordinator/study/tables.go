package study

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/dither-ml/dither/coordinator/runlog"
)

// WriteTables writes results.json, results.csv, runs.csv and speed.csv, each whole or not at all. All but the last are a function of the runs' results: the same bytes, however often the study was
// interrupted.
func WriteTables(dir string, s *Summary) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", ResultsFile, err)
	}
	return errors.Join(
		runlog.WriteFile(filepath.Join(dir, ResultsFile), append(b, '\n')),
		writeCSV(filepath.Join(dir, TableFile), s.table()),
		writeCSV(filepath.Join(dir, RunsFile), s.runs()),
		writeCSV(filepath.Join(dir, SpeedFile), s.speed()))
}

func writeCSV(path string, rows [][]string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return runlog.WriteFile(path, b.Bytes())
}

func text(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return text(*v)
}

// table has a line an arm. What was not measured is empty.
func (s *Summary) table() [][]string {
	head := []string{"arm", "name", "noise", "scale", "batch", "lr", "iterations", "runs", "finished", "diverged"}
	for _, m := range []string{"gradient_norm", "validation_accuracy", "test_accuracy", "test_loss", "training_loss"} {
		head = append(head, m+"_n", m+"_mean", m+"_sd", m+"_low", m+"_high")
	}
	rows := [][]string{head}
	for _, p := range s.Points {
		row := []string{strconv.Itoa(p.Arm), p.Name, p.Noise, text(p.Scale), strconv.Itoa(int(p.Batch)), text(p.LR), strconv.Itoa(int(p.Iterations)),
			strconv.Itoa(p.Runs), strconv.Itoa(p.Finished), strconv.Itoa(p.Diverged)}
		for _, e := range []*Estimate{p.GradientNorm, p.ValidationAccuracy, p.TestAccuracy, p.TestLoss, p.TrainingLoss} {
			row = append(row, e.cells()...)
		}
		rows = append(rows, row)
	}
	return rows
}

// cells are n, mean, sd, low and high.
func (e *Estimate) cells() []string {
	switch {
	case e == nil:
		return []string{"0", "", "", "", ""}
	case e.N < 2:
		return []string{strconv.Itoa(e.N), text(e.Mean), "", "", ""}
	}
	return []string{strconv.Itoa(e.N), text(e.Mean), text(e.SD), optional(e.Low), optional(e.High)}
}

// runs has a line a run. Why a run failed is not in it: it names processes.
func (s *Summary) runs() [][]string {
	rows := [][]string{{"arm", "name", "seed", "phase", "state", "spec_sha256", "parameters_sha256", "gradient_norm", "gradient_norm_images", "validation_accuracy", "test_accuracy", "test_loss", "training_loss"}}
	for _, o := range s.Outcomes {
		images := ""
		if o.GradientNormImages > 0 {
			images = strconv.Itoa(o.GradientNormImages)
		}
		rows = append(rows, []string{strconv.Itoa(o.Arm), Name(s.Spec, o.Arm), strconv.FormatUint(o.Seed, 10), o.Phase, string(o.State), o.Hash, o.ParametersSHA256,
			optional(o.GradientNorm), images, optional(o.ValidationAccuracy), optional(o.TestAccuracy), optional(o.TestLoss), optional(o.TrainingLoss)})
	}
	return rows
}

// speed has a line a finished run.
func (s *Summary) speed() [][]string {
	rows := [][]string{{"arm", "name", "seed", "phase", "batch", "images_per_second"}}
	for _, o := range s.Outcomes {
		if o.State == Finished {
			rows = append(rows, []string{strconv.Itoa(o.Arm), Name(s.Spec, o.Arm), strconv.FormatUint(o.Seed, 10), o.Phase, strconv.Itoa(int(o.Spec.GetBatch())), text(o.ImagesPerSecond)})
		}
	}
	return rows
}
