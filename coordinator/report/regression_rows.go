package report

import (
	"fmt"
	"math"
	"strings"
)

// regressionRow is a panel's line in the table of numbers.
type regressionRow struct {
	Panel, Sigma2, Sigma                        string
	LeastSquares, Mean, Exact, Empirical, Paper string
	Apart, Radius2, Radius4, Mixing             string
}

// claimRow is a line of the claims.
type claimRow struct{ Panel, What, Verdict, Class, Apart, Interval, N string }

// factorRow is where Eq. 20 and the exact law part in a panel.
type factorRow struct{ Panel, Centre, Residual, Finite, Shape, Step, Product, Apart string }

// tailRow is a panel without fourth moments.
type tailRow struct {
	Panel, Exact, Index, N string
	Quantiles              []quantileRow
}

type quantileRow struct{ Name, Value, Interval, Expected string }

func (r *Regression) rows() (out []regressionRow) {
	for i := range r.Panels {
		p := &r.Panels[i]
		row := regressionRow{p.Letter, fmt.Sprintf("%g", p.Sigma2), p.Sigma, vector(p.LeastSquares, 5), vector(p.Mean, 5), matrix(p.Exact), matrix(p.Empirical), matrix(p.Paper), fraction(p.Apart),
			radius(p.Radius2), radius(p.Radius4), none}
		if !math.IsInf(p.Mixing, 0) && !math.IsNaN(p.Mixing) {
			row.Mixing = fmt.Sprintf("%.3g", p.Mixing)
		}
		if p.Diverged {
			row.Mean, row.Empirical = "diverged", "diverged"
		}
		out = append(out, row)
	}
	return out
}

func (r *Regression) claims() (out []claimRow) {
	for i := range r.Panels {
		p := &r.Panels[i]
		for _, c := range p.Claims {
			what := fmt.Sprintf("the mean of the iterates is the least-squares solution, within %.3g %%", 100*r.Limit)
			if c.What == "covariance" {
				what = fmt.Sprintf("their covariance is the exact one, within %.3g %%", 100*r.Limit)
			}
			row := claimRow{p.Letter, what, c.Verdict, strings.ReplaceAll(c.Verdict, " ", "-"), fraction(c.Apart), none, thousands(c.N)}
			if !math.IsNaN(c.Low) {
				row.Interval = fraction(c.Low) + " to " + fraction(c.High)
			}
			switch c.Verdict {
			case "shown", "not shown", "contradicted":
			default:
				row.Class = "open"
			}
			out = append(out, row)
		}
	}
	return out
}

func (r *Regression) factors() (out []factorRow) {
	for i := range r.Panels {
		p := &r.Panels[i]
		if f := p.Factors; f != nil {
			number := func(v float64) string { return fmt.Sprintf("%.3f", v) }
			out = append(out, factorRow{p.Letter, number(f.Centre), number(f.Residual), number(f.Finite), number(f.Shape), number(f.Step), number(f.Residual * f.Finite * f.Shape * f.Step), fraction(p.Apart)})
		}
	}
	return out
}

func (r *Regression) tails() (out []tailRow) {
	for i := range r.Panels {
		p := &r.Panels[i]
		if p.Tail == nil {
			continue
		}
		row := tailRow{p.Letter, fmt.Sprintf("%.3g", p.Tail.Exact), none, thousands(p.Tail.N), nil}
		if !math.IsNaN(p.Tail.Index) {
			row.Index = fmt.Sprintf("%.3g (95\u00a0%% interval %.3g to %.3g)", p.Tail.Index, p.Tail.Low, p.Tail.High)
		}
		add := func(name, verb string, q Quantile) {
			row.Quantiles = append(row.Quantiles, quantileRow{name, fmt.Sprintf(verb, q.Value), fmt.Sprintf(verb+" to "+verb, q.Low, q.High), fmt.Sprintf(verb, q.Expected)})
		}
		for j, q := range p.Tail.Median {
			add(fmt.Sprintf("median of coordinate %d; least squares", j+1), "%.5f", q)
		}
		for _, q := range p.Tail.Distances {
			add(fmt.Sprintf("distance, %g\u00a0%% quantile; a Gaussian law's", 100*q.Level), "%.3f", q)
		}
		out = append(out, row)
	}
	return out
}

// summary is what was done, how it came out, and the class of that in the page.
func (r *Regression) summary() (done, state, class string) {
	done = fmt.Sprintf("%s, each with its noiseless twin, %s iterations a chain, in %s", count(len(r.Panels), "panel"), thousands(r.Iterations), short(r.Seconds))
	class = "finished"
	var parts []string
	for _, what := range []string{"mean", "covariance"} {
		counts := map[string]int{}
		for i := range r.Panels {
			for _, c := range r.Panels[i].Claims {
				if c.What == what {
					counts[c.Verdict]++
				}
			}
		}
		text := fmt.Sprintf("%s within %.3g %%: shown in %d", what, 100*r.Limit, counts["shown"])
		for _, verdict := range []string{"not shown", "contradicted", "no fourth moment", "diverged", "no second moment", "no variance", "no interval"} {
			if counts[verdict] > 0 {
				text += fmt.Sprintf(", %s in %d", verdict, counts[verdict])
			}
		}
		if counts["contradicted"] > 0 {
			class = "failed"
		} else if class == "finished" && counts["not shown"]+counts["diverged"] > 0 {
			class = "unfinished"
		}
		parts = append(parts, text)
	}
	return done, strings.Join(parts, "; "), class
}

// short is a duration that may be far below a second.
func short(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.2g s", seconds)
	}
	return duration(seconds)
}

// vector is a few numbers, of many the first.
func vector(v []float64, digits int) string {
	if v == nil {
		return none
	}
	parts := make([]string, 0, 4)
	for i, x := range v {
		if i == 3 && len(v) > 4 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, minus(fmt.Sprintf("%.*g", digits, x)))
	}
	return strings.Join(parts, ", ")
}

// matrix is a symmetric one by its lower triangle, row by row, with one power of ten for all; of a large one the first two coordinates' part.
func matrix(m [][]float64) string {
	if m == nil {
		return none
	}
	most := 0.0
	for i := range m {
		most = math.Max(most, math.Abs(m[i][i]))
	}
	power := 0.0
	if most > 0 {
		power = math.Floor(math.Log10(most))
	}
	rows := make([]string, 0, 3)
	for i, row := range m {
		if i == 2 && len(m) > 3 {
			rows = append(rows, "…")
			break
		}
		parts := make([]string, 0, 3)
		for _, v := range row[:i+1] {
			parts = append(parts, minus(fmt.Sprintf("%.3f", v/math.Pow(10, power))))
		}
		rows = append(rows, strings.Join(parts, ", "))
	}
	text := strings.Join(rows, "; ")
	if power != 0 {
		text = fmt.Sprintf("(%s)\u00a0×\u00a010%s", text, superscript(int(power)))
	}
	return text
}

// minus is a number with the sign that no line is broken after.
func minus(s string) string { return strings.ReplaceAll(s, "-", "−") }

func superscript(n int) string {
	digits := []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")
	out := ""
	for _, r := range fmt.Sprint(n) {
		if r == '-' {
			out += "⁻"
		} else {
			out += string(digits[r-'0'])
		}
	}
	return out
}

// radius tells a radius just below 1 from 1.
func radius(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	return fmt.Sprintf("%.4f", v)
}

func fraction(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	return fmt.Sprintf("%.2g\u00a0%%", 100*v)
}

// thousands is a number with its thousands apart.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
