package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/study"
)

// noiseNone is noiseless distillation's kind of noise.
const noiseNone = "none"

// Looks of what has a meaning in more than one figure.
var (
	teacherLook   = chart.Look{Color: chart.Grey, Dashes: []vg.Length{5, 3}}
	noiselessLook = chart.Look{Color: chart.Green, Shape: draw.PyramidGlyph{}, Dashes: []vg.Length{2, 2}}
	chosenLook    = chart.Look{Color: chart.Ink}
	noiseLooks    = map[string]chart.Look{
		noiseNone:   noiselessLook,
		"gaussian":  {Color: chart.Blue, Shape: draw.CircleGlyph{}},
		"symmetric": {Color: chart.Orange, Shape: draw.BoxGlyph{}, Dashes: []vg.Length{7, 2}},
	}
	serviceLook = chart.Look{Color: chart.Purple, Shape: draw.CrossGlyph{}, Dashes: []vg.Length{7, 2, 2, 2}}
)

func noiseLook(kind string) chart.Look {
	if l, ok := noiseLooks[kind]; ok {
		return l
	}
	return serviceLook
}

// noiseName is a noise for people.
func noiseName(kind string) string {
	switch kind {
	case noiseNone:
		return "noiseless distillation"
	case "gaussian":
		return "Gaussian noise"
	case "symmetric":
		return "symmetric noise"
	}
	return "noise of " + kind
}

// scaleName is what a noise's scale is.
func scaleName(kind string) string {
	switch kind {
	case "gaussian":
		return "variance of the noise, σ²"
	case "symmetric":
		return "probability of a swap, p"
	}
	return "scale of the noise"
}

// quantity is a measure of an arm.
type quantity struct {
	name    string
	percent bool
	of      func(*study.Point) *study.Estimate
	teacher func(*study.Teacher) *float64 // nil: a teacher has none
}

var (
	gradientNorm       = quantity{"gradient norm", false, func(p *study.Point) *study.Estimate { return p.GradientNorm }, func(t *study.Teacher) *float64 { return t.GradientNorm }}
	validationAccuracy = quantity{"validation accuracy", true, func(p *study.Point) *study.Estimate { return p.ValidationAccuracy }, nil}
	testAccuracy       = quantity{"test accuracy", true, func(p *study.Point) *study.Estimate { return p.TestAccuracy }, func(t *study.Teacher) *float64 { return t.TestAccuracy }}
	testLoss           = quantity{"test loss (cross-entropy)", false, func(p *study.Point) *study.Estimate { return p.TestLoss }, func(t *study.Teacher) *float64 { return t.TestLoss }}
	trainingLoss       = quantity{"training loss", false, func(p *study.Point) *study.Estimate { return p.TrainingLoss }, nil}
)

// value is e at x.
func value(x float64, e *study.Estimate) chart.Value {
	return chart.Value{X: x, Y: e.Mean, Low: e.Low, High: e.High, N: e.N}
}

// teacherLevel draws the teacher's measure into p, where there is one.
func (w *studyReport) teacherLevel(p *chart.Panel, q quantity) {
	if w.Teacher == nil || q.teacher == nil {
		return
	}
	if v := q.teacher(w.Teacher); v != nil {
		p.Level("teacher", teacherLook, chart.Value{Y: *v, N: 1})
	}
}

// spread is the ratio of the greatest to the least of positive numbers; 0 where one is not.
func spread(values []float64) float64 {
	if len(values) == 0 || slices.Min(values) <= 0 {
		return 0
	}
	return slices.Max(values) / slices.Min(values)
}

// means are the measures of the arms, and the teacher's, as far as there are.
func (w *studyReport) means(q quantity) (out []float64) {
	for i := range w.Points {
		if e := q.of(&w.Points[i]); e != nil && isNumber(e.Mean) {
			out = append(out, e.Mean)
		}
	}
	if w.Teacher != nil && q.teacher != nil {
		if v := q.teacher(w.Teacher); v != nil {
			out = append(out, *v)
		}
	}
	return out
}

// axis is a quantity's, logarithmic where its values over the study span much: then panels side by side are alike.
func (w *studyReport) axis(q quantity) chart.Axis {
	return chart.Axis{Name: q.name, Percent: q.percent, Log: !q.percent && spread(w.means(q)) > 8}
}

// gaps says in words which runs the figures lack.
func (w *studyReport) gaps() string {
	var out []string
	for _, p := range w.Points {
		if p.Diverged > 0 {
			out = append(out, fmt.Sprintf("%s: %d of %s diverged", p.Name, p.Diverged, count(p.Runs, "run")))
		}
	}
	text := ""
	if len(out) > 0 {
		text = " Not in it are runs that diverged (" + strings.Join(out, "; ") + ")."
	}
	if left := w.Runs - w.Finished - w.Diverged; left > 0 {
		text += fmt.Sprintf(" %d of %s not done yet.", left, countAre(w.Runs, "run"))
	}
	return text
}

func countAre(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return count(n, what) + " are"
}

// seeds says over how many seeds means are.
func (w *studyReport) seeds() string { return count(len(w.Spec.GetSeeds()), "seed") }

func byX(a, b chart.Value) int { return cmp.Compare(a.X, b.X) }

// capital is a text with a capital letter first.
func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func isNumber(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
