package report

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// WriteStudy makes the report of the study in dir, of which s is the summary: report.html, which needs no other file, and each of its figures as figures/NAME.svg with
// its numbers as NAME.csv and NAME.json. It gives the page's path. A study that is not over has a report too.
func WriteStudy(dir string, s *study.Summary, o Options) (path string, err error) {
	path, err = writeStudy(dir, s, o)
	if err != nil {
		return "", fmt.Errorf("making the report of a study: %w", err)
	}
	return path, nil
}

func writeStudy(dir string, s *study.Summary, o Options) (string, error) {
	w := &studyReport{dir: dir, Summary: s, options: o}
	var err error
	if w.stability, err = readStability(dir); err != nil {
		return "", err
	}
	figures, err := w.figures()
	if err != nil {
		return "", err
	}
	if len(figures) > 0 {
		if err := os.MkdirAll(filepath.Join(dir, FiguresFolder), 0o777); err != nil {
			return "", err
		}
	}
	for _, f := range figures {
		numbers, err := f.JSON()
		if err != nil {
			return "", err
		}
		for _, file := range []struct {
			ending string
			data   []byte
		}{{".svg", f.SVG}, {".csv", f.CSV()}, {".json", numbers}} {
			if err := runlog.WriteFile(filepath.Join(dir, FiguresFolder, f.Name+file.ending), file.data); err != nil {
				return "", err
			}
		}
	}
	page, err := w.page(figures)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, PageFile)
	return path, runlog.WriteFile(path, page)
}

// studyReport is a study's report in the making.
type studyReport struct {
	*study.Summary
	dir       string
	options   Options
	stability []stability
}

// figures draws what the study's design asks for and what else there is.
func (w *studyReport) figures() (out []*chart.Figure, err error) {
	var sheets []*chart.Sheet
	switch w.Spec.GetDesign() {
	case ditherv1.DesignScales:
		sheets = append(sheets, w.figure2(), w.figure3())
	case ditherv1.DesignBatches:
		sheets = append(sheets, w.batches())
	case ditherv1.DesignEtaOverB, ditherv1.DesignLabelNoise:
		sheets = append(sheets, w.coincidence())
	}
	sheets = append(sheets, w.stabilityFigure())
	for _, s := range sheets {
		if s == nil {
			continue
		}
		f, err := s.Figure()
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}
