package main

import (
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/dither-ml/dither/coordinator/report"
	"github.com/dither-ml/dither/trainer/ols"
)

// olsResult is what `dither ols --json` prints, and result.json.
type olsResult struct {
	Seconds    float64    `json:"seconds"` // of the runs
	Panels     []olsPanel `json:"panels"`
	Iterations int64      `json:"iterations"`
	Seed       uint64     `json:"seed"`
	Thin       int        `json:"thin"` // 0: no path was kept
	Limit      float64    `json:"agreement"`
	Version    string     `json:"version"`
	Command    []string   `json:"command"`
	Folder     string     `json:"folder,omitempty"`
	Report     string     `json:"report,omitempty"`
}

// olsPanel is a panel and its noiseless twin. What is not known, or is no number, is null.
type olsPanel struct {
	Panel           string      `json:"panel"`
	Sigma2          float64     `json:"sigma2"`
	Sigma           [][]float64 `json:"Sigma"`
	Eta             float64     `json:"eta"`
	Batch           int         `json:"batch"`
	Replacement     bool        `json:"replacement"`
	Refresh         string      `json:"refresh"`
	X               [][]float64 `json:"X"` // as drawn
	Y               []float64   `json:"y"`
	LeastSquares    []float64   `json:"least_squares"`
	Mean            []float64   `json:"mean"`
	MeanError       []float64   `json:"mean_standard_error"`
	Covariance      [][]float64 `json:"covariance"`
	CovarianceError [][]float64 `json:"covariance_standard_error"`
	Exact           [][]float64 `json:"exact_covariance"`
	Paper           [][]float64 `json:"paper_covariance"`
	PaperApart      *float64    `json:"paper_difference"` // the largest of an entry from the exact one, over sqrt(C_ii C_jj)
	PaperFactors    *olsFactors `json:"paper_factors"`    // where the two part
	Radius1         *float64    `json:"radius1"`
	Radius2         *float64    `json:"radius2"`
	Radius4         *float64    `json:"radius4"`
	Radius4Skipped  string      `json:"radius4_skipped,omitempty"`
	EtaLimit        *float64    `json:"eta_limit"`
	Mixing          *float64    `json:"mixing"` // iterations
	Burn            int64       `json:"burn"`
	N               int64       `json:"n"` // iterates of which mean and covariance are
	Diverged        bool        `json:"diverged"`
	DivergedAt      int64       `json:"diverged_at,omitempty"` // iteration
	Claims          []olsClaim  `json:"claims"`
	Tail            *olsTail    `json:"tail,omitempty"`
	Noiseless       olsTwin     `json:"noiseless"`

	claims []report.Claim
	tail   *report.Tail
	apart  float64
}

// olsFactors say where Eq. 20 and the exact law part: the trace of the exact covariance is that of the paper's times residual, finite, shape and step.
type olsFactors struct {
	Centre   float64 `json:"centre"` // |least squares - beta*| in the paper's standard deviations of one coordinate
	Residual float64 `json:"residual"`
	Finite   float64 `json:"finite"`
	Shape    float64 `json:"shape"`
	Step     float64 `json:"step"`
}

// olsTwin is the noiseless chain on the same X.
type olsTwin struct {
	Y          []float64   `json:"y"`
	Mean       []float64   `json:"mean"`
	Covariance [][]float64 `json:"covariance"`
	Last       []float64   `json:"last"`
	Diverged   bool        `json:"diverged"`
}

// olsClaim is a claim, judged.
type olsClaim struct {
	What           string   `json:"what"`
	Verdict        string   `json:"verdict"`
	Difference     *float64 `json:"difference"`
	Low            *float64 `json:"low"`
	High           *float64 `json:"high"`
	StandardErrors *float64 `json:"standard_errors"`
	N              int64    `json:"n"`
}

// olsTail is what takes the covariance's place where there is no fourth moment.
type olsTail struct {
	Exact    *float64      `json:"exact_index"`
	Index    *float64      `json:"index"`
	Low      *float64      `json:"low"`
	High     *float64      `json:"high"`
	N        int64         `json:"n"`
	Median   []olsQuantile `json:"median"`
	Distance []olsQuantile `json:"distance"`
}

type olsQuantile struct {
	Level    float64 `json:"level"`
	Value    float64 `json:"value"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Expected float64 `json:"expected"` // the least-squares solution; a Gaussian law's distance
}

// finiteOrNull is v, or null where JSON cannot hold it.
func finiteOrNull(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// result gathers what is known once the chains have been run.
func (s *olsStudy) result(f *olsFlags) *olsResult {
	r := &olsResult{Seconds: s.seconds, Panels: make([]olsPanel, len(s.theory)), Iterations: f.iterations, Seed: f.seed, Limit: agreement, Version: versionString(), Command: f.command()}
	if f.keepPaths {
		r.Thin = f.thin
	}
	// Tails are sorted out, which takes a while: panels side by side.
	var group sync.WaitGroup
	for i := range s.theory {
		group.Go(func() { r.Panels[i] = s.judged(i) })
	}
	group.Wait()
	return r
}

// judged is panel i, with what is claimed of it.
func (s *olsStudy) judged(i int) olsPanel {
	t, set, p, twin := s.theory[i], s.settings[2*i], &s.paths[2*i], &s.paths[2*i+1]
	q := olsPanel{
		Panel: letter(i), Sigma2: set.Sigma2, Sigma: set.Sigma, Eta: set.Eta, Batch: set.Batch, Replacement: set.Replacement, Refresh: set.Refresh,
		X: s.data[2*i].X, Y: s.data[2*i].Y, LeastSquares: t.LeastSquares, Exact: t.Covariance, Paper: t.Paper,
		Radius1: finiteOrNull(t.Radius1), Radius2: finiteOrNull(t.Radius2), Radius4: finiteOrNull(t.Radius4), Radius4Skipped: t.Skipped, EtaLimit: finiteOrNull(t.Limit), Mixing: finiteOrNull(t.Mixing),
		Burn: p.Burn, Diverged: p.Diverged, claims: olsClaims(t, p), tail: heavyTail(t, p), apart: apartFrom(t.Paper, t.Covariance),
		Noiseless: olsTwin{Y: s.data[2*i+1].Y, Diverged: twin.Diverged},
	}
	if t.Skipped != "" {
		q.Radius4 = nil
	}
	if a := t.Apart; a != nil {
		q.PaperFactors = (*olsFactors)(a)
	}
	q.PaperApart = finiteOrNull(q.apart)
	if p.Diverged {
		q.DivergedAt = p.K
	} else {
		q.Mean, q.MeanError, q.Covariance, q.CovarianceError, q.N = p.Mean, p.MeanError, p.Covariance, p.CovarianceError, max(0, p.K-p.Burn)
	}
	if !twin.Diverged {
		q.Noiseless.Mean, q.Noiseless.Covariance, q.Noiseless.Last = twin.Mean, twin.Covariance, twin.Last
	}
	for _, c := range q.claims {
		q.Claims = append(q.Claims, olsClaim{c.What, c.Verdict, finiteOrNull(c.Apart), finiteOrNull(c.Low), finiteOrNull(c.High), finiteOrNull(c.StandardErrors), c.N})
	}
	if h := q.tail; h != nil {
		q.Tail = &olsTail{finiteOrNull(h.Exact), finiteOrNull(h.Index), finiteOrNull(h.Low), finiteOrNull(h.High), h.N, olsQuantiles(h.Median), olsQuantiles(h.Distances)}
	}
	return q
}

func olsQuantiles(all []report.Quantile) []olsQuantile {
	out := make([]olsQuantile, len(all))
	for i, q := range all {
		out[i] = olsQuantile(q)
	}
	return out
}

// within is the table's word on agreement, by the differences alone; the page has the intervals.
func (p *olsPanel) within() string {
	for _, c := range p.claims {
		if math.IsNaN(c.Apart) || c.Verdict == noFourth {
			return c.Verdict
		}
		if c.Apart > agreement {
			return "no"
		}
	}
	return "yes"
}

// print is the table for people.
func (r *olsResult) print(w io.Writer) {
	var rows [][]string
	for i := range r.Panels {
		p := &r.Panels[i]
		rows = append(rows, []string{p.Panel, fmt.Sprintf("%g", p.Sigma2), sigmaName(p.Sigma), vectorText(p.LeastSquares), vectorText(p.Mean), covarianceText(p.Exact), covarianceText(p.Covariance), covarianceText(p.Paper),
			p.ratio(), radiusText(p.Radius2), radiusText(p.Radius4), p.within()})
	}
	table(w, []string{"panel", "sigma2", "Sigma", "least squares", "mean", "exact covariance", "empirical", "paper's", "emp/exact", "radius2", "radius4", fmt.Sprintf("within %g %%", 100*agreement)}, rows)
	fmt.Fprintf(w, "%d chains of %d iterations in %.3g s; covariances are 11, 21, 22 of their entries, the ratio is that of the traces\n", 2*len(r.Panels), r.Iterations, r.Seconds)
	for i := range r.Panels {
		p := &r.Panels[i]
		if p.Diverged {
			fmt.Fprintf(w, "panel %s diverged: a number passed 1e150 at iteration %d\n", p.Panel, p.DivergedAt)
		}
		if p.Radius4Skipped != "" {
			fmt.Fprintf(w, "panel %s: %s\n", p.Panel, p.Radius4Skipped)
		}
		if t := p.tail; t != nil {
			fmt.Fprintf(w, "panel %s has no fourth moment, so its empirical covariance never settles: %s\n", p.Panel, tailText(t))
		}
	}
	if r.Report != "" {
		fmt.Fprintln(w, r.Report)
	}
}

// tailText tells of a tail.
func tailText(t *report.Tail) string {
	text := fmt.Sprintf("exact tail index %.3g", t.Exact)
	if !math.IsNaN(t.Index) {
		text += fmt.Sprintf(", estimated %.3g (%.3g to %.3g)", t.Index, t.Low, t.High)
	}
	for k, q := range t.Median {
		if k == 0 {
			text += "; median"
		}
		text += fmt.Sprintf(" %.5g (least squares %.5g)", q.Value, q.Expected)
	}
	for k, q := range t.Distances {
		if k == 0 {
			text += "; distance"
		}
		text += fmt.Sprintf(" %g %%: %.3g (Gaussian %.3g)", 100*q.Level, q.Value, q.Expected)
	}
	return text
}

// ratio is that of the traces of the empirical and the exact covariance.
func (p *olsPanel) ratio() string {
	if p.Covariance == nil || p.Exact == nil {
		return "-"
	}
	var empirical, exact float64
	for i := range p.Exact {
		empirical += p.Covariance[i][i]
		exact += p.Exact[i][i]
	}
	if exact == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4f", empirical/exact)
}

func radiusText(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", *v)
}

// vectorText is the first two of a vector, and a sign that there are more.
func vectorText(v []float64) string {
	switch {
	case v == nil:
		return "-"
	case len(v) == 1:
		return fmt.Sprintf("%.4f", v[0])
	case len(v) == 2:
		return fmt.Sprintf("%.4f %.4f", v[0], v[1])
	}
	return fmt.Sprintf("%.4f %.4f ...", v[0], v[1])
}

// covarianceText is entries 11, 21 and 22 of a covariance.
func covarianceText(m [][]float64) string {
	switch {
	case m == nil:
		return "-"
	case len(m) == 1:
		return fmt.Sprintf("%.3e", m[0][0])
	}
	return fmt.Sprintf("%.3e %.1e %.3e", m[0][0], m[1][0], m[1][1])
}

// burnt is the kept part of a path after its burn-in.
func burnt(p *ols.Path, d int) []float64 {
	thin := int64(max(1, p.Thin))
	return p.Beta[min(int64(len(p.Beta)), (p.Burn+thin-1)/thin*int64(d)):]
}
