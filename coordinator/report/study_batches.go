package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/study"
)

// batches is gradient norm, test accuracy, training loss and speed against the batch size, a series for each noise and scale.
func (w *studyReport) batches() *chart.Sheet {
	groups := w.groups(func(p *study.Point) string { return fmt.Sprint(p.Noise, p.Scale) })
	if len(groups) == 0 {
		return nil
	}
	x := chart.Axis{Name: "batch size, B", Base2: true}
	panel := func(q quantity) *chart.Panel {
		p := &chart.Panel{Title: capital(q.name), X: x, Y: w.axis(q), Empty: "no finished run has it"}
		w.teacherLevel(p, q)
		offsets := chart.Offsets(len(groups))
		for i, g := range groups {
			p.Points(g.name, g.look, offsets[i], w.over(g, func(p *study.Point) float64 { return float64(p.Batch) }, q.of))
		}
		return p
	}
	norm, accuracy, loss, speed := panel(gradientNorm), panel(testAccuracy), panel(trainingLoss), panel(w.speed())
	return &chart.Sheet{Name: "batches", Title: "Gradient norm, accuracy, loss and speed against the batch size", Rows: [][]*chart.Panel{{norm, accuracy}, {loss, speed}},
		Caption: fmt.Sprintf("Mean and 95 %% interval (Student's t) over %s; series are shifted sideways so that none hides another. The training loss is that which is minimised, over the last epoch. The learning rate of each batch size is in the table. Images a second were taken while the runs were made, with whatever else the machine did.", w.seeds()) +
			w.measured() + w.gaps()}
}

// speed is images/s of an arm's runs on all training images, over seeds. It is in no table of results, for it differs from time to time.
func (w *studyReport) speed() quantity {
	return quantity{name: "training images a second", of: func(p *study.Point) *study.Estimate {
		var values []float64
		for i := range w.Outcomes {
			if o := &w.Outcomes[i]; o.Arm == p.Arm && o.Phase == study.Refit && o.State == study.Finished && o.ImagesPerSecond > 0 {
				values = append(values, o.ImagesPerSecond)
			}
		}
		return study.NewEstimate(values)
	}}
}

// group is arms that are one series.
type group struct {
	name string
	look chart.Look
	arms []*study.Point
}

// groups are the arms by a key, in the order of the arms. A group of one noise has that noise's look; of more groups of one noise each has its own.
func (w *studyReport) groups(key func(*study.Point) string) (out []*group) {
	at := map[string]*group{}
	kinds := map[string]int{}
	for i := range w.Points {
		p := &w.Points[i]
		g := at[key(p)]
		if g == nil {
			g = &group{look: noiseLook(p.Noise)}
			at[key(p)] = g
			out = append(out, g)
			kinds[p.Noise]++
		}
		g.arms = append(g.arms, p)
	}
	plain := true
	for _, n := range kinds {
		plain = plain && n == 1
	}
	for i, g := range out {
		if !plain {
			g.look = chart.Looks[i%len(chart.Looks)]
		}
		g.name = noiseName(g.arms[0].Noise)
		if scale := g.arms[0].Scale; scale != 0 && !slices.ContainsFunc(g.arms, func(p *study.Point) bool { return p.Scale != scale }) {
			g.name += fmt.Sprintf(", %s = %.4g", symbol(g.arms[0].Noise), scale)
		}
	}
	return out
}

// symbol is what a noise's scale is called in formulas.
func symbol(kind string) string {
	switch kind {
	case "gaussian":
		return "σ²"
	case "symmetric":
		return "p"
	}
	return "scale"
}

// over is a measure of a group's arms at places.
func (w *studyReport) over(g *group, at func(*study.Point) float64, of func(*study.Point) *study.Estimate) (out []chart.Value) {
	for _, p := range g.arms {
		if e := of(p); e != nil && !math.IsNaN(at(p)) {
			out = append(out, value(at(p), e))
		}
	}
	slices.SortStableFunc(out, byX)
	return out
}

// measured quotes the study's claims with their measures and intervals, for a caption.
func (w *studyReport) measured() (text string) {
	for _, c := range w.claims() {
		if c.Value == "" {
			continue
		}
		text += fmt.Sprintf(" %s: %s (%s %s", strings.TrimSuffix(c.Text, "."), c.Verdict, c.Measure, c.Value)
		if c.Range != "" {
			text += ", 95 % interval " + c.Range
		}
		text += fmt.Sprintf(", n = %d).", c.N)
	}
	return text
}
