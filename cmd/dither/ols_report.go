package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/dither-ml/dither/coordinator/report"
	"github.com/dither-ml/dither/coordinator/runlog"
)

// command is what to type to have the study again: the flags that were given, without where it is written.
func (f *olsFlags) command() []string {
	words := []string{"dither", "ols"}
	f.set.Visit(func(one *pflag.Flag) {
		if slices.Contains([]string{"out", "threads", "json", "figures"}, one.Name) {
			return
		}
		words = append(words, flag(one.Name, one.Value.String()))
	})
	return words
}

// write makes the study's folder: result.json, the figure and its numbers, and the page, whose path it gives.
func (s *olsStudy) write(dir string, r *olsResult, f *olsFlags) (page string, err error) {
	set := s.settings[0]
	d := len(set.Sigma)
	p := &report.Regression{
		Name: "Figure 1", Command: f.command(), Version: r.Version, Seed: r.Seed, Samples: set.N, Dimension: d, Batch: set.Batch, Eta: set.Eta, Sampling: "without replacement", Refresh: set.Refresh,
		Iterations: r.Iterations, Thin: r.Thin, Seconds: r.Seconds, Limit: r.Limit,
	}
	if f.own() {
		p.Name = "A setting of one's own"
	}
	if set.Replacement {
		p.Sampling = "with replacement"
	}
	for i := range r.Panels {
		p.Panels = append(p.Panels, s.panel(i, &r.Panels[i]))
	}
	r.Report = filepath.Join(dir, report.PageFile)
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", fmt.Errorf("put the result into JSON: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	if err := runlog.WriteFile(filepath.Join(dir, runlog.ResultFile), append(text, '\n')); err != nil {
		return "", err
	}
	return p.Write(dir)
}

// panel is panel i for the page.
func (s *olsStudy) panel(i int, r *olsPanel) report.RegressionPanel {
	t, path, twin := s.theory[i], &s.paths[2*i], &s.paths[2*i+1]
	d := len(t.LeastSquares)
	p := report.RegressionPanel{
		Letter: r.Panel, Sigma2: r.Sigma2, Sigma: sigmaName(r.Sigma), BetaStar: ones(d), LeastSquares: t.LeastSquares, Mean: r.Mean, Exact: r.Exact, Empirical: r.Covariance, Paper: r.Paper, Apart: r.apart,
		Radius2: t.Radius2, Radius4: t.Radius4, Mixing: t.Mixing, N: r.N, Diverged: r.Diverged, Claims: r.claims, Tail: r.tail,
	}
	if a := t.Apart; a != nil {
		p.Factors = &report.Factors{Centre: a.Centre, Residual: a.Residual, Finite: a.Finite, Shape: a.Shape, Step: a.Step}
	}
	switch {
	case len(path.Beta) == 0 || d < 2:
	case path.Diverged:
		p.Cloud = report.NewBlowup(&p, path.Beta, d, path.Thin)
	default:
		p.Cloud = report.NewCloud(&p, burnt(path, d), twin.Beta, d)
	}
	return p
}

// ones is beta*.
func ones(d int) []float64 { return slices.Repeat([]float64{1}, d) }
