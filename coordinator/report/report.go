// Package report makes figures and one HTML page of a run's folder. Both are functions of the folder alone; a run that is going on has a report too.
package report

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/dither-ml/dither/coordinator/runlog"
)

// Names of what is written into a run's folder.
const (
	PageFile      = "report.html"
	FiguresFolder = "figures"
	TeacherFolder = "teacher" // holds the run that trained the teacher, where one did
)

// Options is what the folder may not tell.
type Options struct {
	// Command is what to type to repeat the run, word by word; nil: what spec.yaml says was typed.
	Command []string
	// Version is the program that wrote the report; empty: the page says nothing about it.
	Version string
}

// Write makes the report of the run in dir, with no options.
func Write(dir string) (path string, err error) { return Options{}.Write(dir) }

// Write makes the report of the run in dir: report.html, which needs no other file, and the figures in it as figures/*.svg. It gives the page's path.
// A folder that holds no run is runlog.ErrNoRun.
func (o Options) Write(dir string) (path string, err error) {
	r, err := read(dir)
	if err != nil {
		return "", fmt.Errorf("making a report: %w", err)
	}
	if r.teacher, err = read(filepath.Join(dir, TeacherFolder)); err != nil && !errors.Is(err, runlog.ErrNoRun) {
		return "", fmt.Errorf("making a report: %w", err)
	}
	if len(o.Command) > 0 {
		r.command = o.Command
	}
	figures, err := r.figures()
	if err != nil {
		return "", fmt.Errorf("making a report: %w", err)
	}
	if len(figures) > 0 {
		if err := os.MkdirAll(filepath.Join(dir, FiguresFolder), 0o777); err != nil {
			return "", fmt.Errorf("making a report: %w", err)
		}
	}
	for _, f := range figures {
		if err := runlog.WriteFile(filepath.Join(dir, FiguresFolder, f.Name+".svg"), f.SVG); err != nil {
			return "", fmt.Errorf("making a report: %w", err)
		}
	}
	page, err := r.page(figures)
	if err != nil {
		return "", fmt.Errorf("making a report: %w", err)
	}
	path = filepath.Join(dir, PageFile)
	if err := runlog.WriteFile(path, page); err != nil {
		return "", fmt.Errorf("making a report: %w", err)
	}
	return path, nil
}

// run is a run's folder, read.
type run struct {
	dir string
	*runlog.Record
	spec    string   // spec.yaml as it is; empty where there is none
	total   int      // iterations of the whole run; 0: unknown
	command []string // what was typed
	teacher *run     // nil: no run trained it
}

func read(dir string) (*run, error) {
	record, err := runlog.Read(dir)
	if err != nil {
		return nil, err
	}
	r := &run{dir: dir, Record: record}
	text, err := os.ReadFile(filepath.Join(dir, runlog.SpecFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.spec = string(text)
	var file struct {
		Spec    struct{ Iterations int }
		Options struct{ Command []string }
	}
	// A spec that cannot be understood is still shown; what it would have told is left out.
	if yaml.Unmarshal(text, &file) == nil {
		r.total, r.command = file.Spec.Iterations, file.Options.Command
	}
	return r, nil
}

// applied is the last applied iteration.
func (r *run) applied() int {
	if n := len(r.Iterations); n > 0 {
		return int(r.Iterations[n-1].Iteration)
	}
	return 0
}

// measures are the numbers of a run for the page's table; nil where not measured.
type measures struct {
	testAccuracy, validationAccuracy, testLoss, trainLoss, gradientNorm *float64
	gradientNormImages                                                  int
	imagesPerSecond, seconds                                            float64
	parameters                                                          string // sha256
}

// measures takes the result's word, or the newest of the record where there is no result yet.
func (r *run) measures() measures {
	var m measures
	for _, e := range r.Events {
		switch {
		case e.Kind != runlog.KindEvaluation:
		case e.GradientNorm != nil:
			m.gradientNorm, m.gradientNormImages = e.GradientNorm, e.Images
		case e.Split == "test":
			m.testAccuracy, m.testLoss = e.Accuracy, e.Loss
		case e.Split == "validation":
			m.validationAccuracy = e.Accuracy
		}
	}
	if n := len(r.Iterations); n > 0 {
		last := r.Iterations[n-1]
		m.trainLoss, m.imagesPerSecond = &last.Loss, last.ImagesPerSecond
		for _, it := range r.Iterations {
			m.seconds += it.Seconds
		}
	}
	res := r.Result
	if res == nil {
		return m
	}
	m.testAccuracy, m.testLoss = cmp.Or(res.TestAccuracy, m.testAccuracy), cmp.Or(res.TestLoss, m.testLoss)
	m.validationAccuracy, m.trainLoss = cmp.Or(res.ValidationAccuracy, m.validationAccuracy), cmp.Or(res.TrainLoss, m.trainLoss)
	if res.GradientNorm != nil {
		m.gradientNorm = res.GradientNorm
		if res.GradientNormImages != nil {
			m.gradientNormImages = *res.GradientNormImages
		}
	}
	m.imagesPerSecond, m.seconds = res.ImagesPerSecond, res.Seconds
	if hex := strings.TrimPrefix(res.ParametersSHA256, "sha256:"); hex != "" {
		m.parameters = "sha256:" + hex
	}
	return m
}

// teachers is what is known of the teacher, by its own run or by the student's; false: nothing.
func (r *run) teachers() (measures, bool) {
	var m measures
	if r.teacher != nil {
		m = r.teacher.measures()
	}
	if res := r.Result; res != nil {
		if res.TeacherTestAccuracy != nil {
			m.testAccuracy = res.TeacherTestAccuracy
		}
		if res.TeacherGradientNorm != nil {
			m.gradientNorm = res.TeacherGradientNorm
			if res.GradientNormImages != nil {
				m.gradientNormImages = *res.GradientNormImages
			}
		}
	}
	return m, r.teacher != nil || m.testAccuracy != nil || m.gradientNorm != nil
}
