package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/dither-ml/dither/coordinator/report"
	"github.com/dither-ml/dither/coordinator/study"
	"github.com/dither-ml/dither/noise"
)

// sweepResult is what `dither sweep --json` prints.
type sweepResult struct {
	Study    string         `json:"study"` // its folder
	SHA256   string         `json:"study_sha256"`
	Runs     int            `json:"runs"`
	Finished int            `json:"finished"`
	Diverged int            `json:"diverged"`
	Failed   int            `json:"failed"` // of this part, for another reason
	Teacher  *study.Teacher `json:"teacher"`
	Points   []study.Point  `json:"points"`
	Choices  []study.Choice `json:"choices"`
	Claims   []study.Claim  `json:"claims"`
	Report   string         `json:"report"`
}

func processors() int { return runtime.GOMAXPROCS(0) }

// tables writes the study's tables as far as its runs are there. Runs of other parts are looked at again.
func (s *sweep) tables() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.outcomes {
		if s.mine(i) || isOver(o) {
			continue
		}
		again, _, err := study.Read(s.dir, s.runs[i:i+1])
		if err != nil {
			return err
		}
		s.outcomes[i] = again[0]
	}
	return study.WriteTables(s.dir, study.Summarise(s.spec, s.measured, s.outcomes))
}

// finish makes the last tables and the report, and says what came of the study.
func (s *sweep) finish(ctx context.Context, failures []string) error {
	if err := s.readOutcomes(); err != nil { // what other parts did too
		return err
	}
	if err := s.tables(); err != nil {
		return err
	}
	summary := study.Summarise(s.spec, s.measured, s.outcomes)
	summary.Unmatched = s.unmatched
	page, err := report.WriteStudy(s.dir, summary, report.Options{Version: versionString()})
	if err != nil {
		fmt.Fprintln(s.app.stderr, "dither:", err)
	}
	left := len(s.pending())
	if ctx.Err() != nil && left > 0 {
		return s.interrupted(fmt.Sprintf("%d of %d runs are finished", summary.Finished, summary.Runs))
	}
	r := &sweepResult{Study: s.dir, SHA256: summary.SpecHash, Runs: summary.Runs, Finished: summary.Finished, Diverged: summary.Diverged, Failed: len(failures), Teacher: s.measured,
		Points: summary.Points, Choices: summary.Choices, Claims: summary.Claims, Report: page}
	if err := s.app.result(r, func(w io.Writer) { s.print(w, summary, r) }); err != nil {
		return err
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d of %d runs failed: %s; the same command tries them again", len(failures), len(s.runs), some(failures, "; "))
	}
	if s.elsewhere > 0 {
		return temporary(fmt.Errorf("%d runs are being done by another process; the same command goes on with them if it is lost", s.elsewhere))
	}
	return nil
}

// print is what a person sees at the end.
func (s *sweep) print(w io.Writer, summary *study.Summary, r *sweepResult) {
	cell := func(e *study.Estimate, scale float64) string {
		if e == nil {
			return "-"
		}
		text := fmt.Sprintf("%.4g", scale*e.Mean)
		if e.Low != nil {
			text += fmt.Sprintf(" ± %.2g", scale*(*e.High-e.Mean))
		}
		return text
	}
	rows := [][]string{}
	if t := s.measured; t != nil {
		one := func(v *float64) *study.Estimate {
			if v == nil {
				return nil
			}
			return &study.Estimate{N: 1, Mean: *v}
		}
		rows = append(rows, []string{"teacher", "-", cell(one(t.TestAccuracy), 100), cell(one(t.GradientNorm), 1), "-"})
	}
	for _, p := range summary.Points {
		state := fmt.Sprintf("%d/%d", p.Finished, p.Runs)
		if p.Diverged > 0 {
			state += fmt.Sprintf(", %d diverged", p.Diverged)
		}
		rows = append(rows, []string{p.Name, cell(p.ValidationAccuracy, 100), cell(p.TestAccuracy, 100), cell(p.GradientNorm, 1), state})
	}
	table(w, []string{"", "validation %", "test %", "gradient norm", "runs"}, rows)
	for _, c := range summary.Choices {
		if c.Noise == noise.None {
			continue // there is nothing to choose
		}
		fmt.Fprintf(w, "\n%s: best on the held-out images is %s", c.Noise, study.Name(s.spec, c.Arm))
		if c.Test != nil {
			fmt.Fprintf(w, ", test accuracy %s %%", cell(c.Test, 100))
		}
	}
	for _, c := range summary.Claims {
		fmt.Fprintf(w, "\n%s: %s (%s)", strings.ToUpper(string(c.Verdict)), c.Text, c.Why)
	}
	fmt.Fprintf(w, "\nstudy folder %s, %d of %d runs finished", s.dir, summary.Finished, summary.Runs)
	if r.Report != "" {
		fmt.Fprintf(w, "\nreport       %s", r.Report)
	}
	fmt.Fprintln(w)
	if len(s.unmatched) > 0 {
		slices.Sort(s.unmatched)
		fmt.Fprintf(w, "of another study: %s\n", some(s.unmatched, "; "))
	}
}
