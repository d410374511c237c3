package report

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// coincidence is the figure of the two tests of the theory at equal eta K / (1 - mu): above, curves over that progress, an arm each; below, where they end.
func (w *studyReport) coincidence() *chart.Sheet {
	name, title := w.Spec.GetDesign(), "Equal η/B, equal noise: do runs coincide where η and B vary?"
	if name == ditherv1.DesignLabelNoise {
		title = "Equal label noise ησ²/B: what coincides where η/B varies?"
	}
	names, at := w.settings()
	looks := w.armLooks(at)
	x := chart.Axis{Name: "progress, ηK/(1 − μ)"}
	training := &chart.Panel{Title: "Training loss by progress", X: x, Y: chart.Axis{Name: trainingLoss.name}, Empty: "no finished run yet"}
	test := &chart.Panel{Title: "Test loss by progress", X: x, Y: chart.Axis{Name: testLoss.name}, Empty: "not evaluated on the way"}
	accuracy := &chart.Panel{Title: "Test accuracy by progress", X: x, Y: chart.Axis{Name: testAccuracy.name, Percent: true}, Empty: "not evaluated on the way"}
	for i := range w.Points {
		p := &w.Points[i]
		look := looks[p.Arm]
		curves := w.curves(p.Arm)
		training.Curve(p.Name, look, w.progress(p, curveOf(curves, func(e study.Epoch) *float64 { return &e.TrainingLoss })))
		test.Curve(p.Name, look, w.progress(p, curveOf(curves, func(e study.Epoch) *float64 { return e.TestLoss })))
		accuracy.Curve(p.Name, look, w.progress(p, curveOf(curves, func(e study.Epoch) *float64 { return e.TestAccuracy })))
	}
	training.Y.Log, test.Y.Log = spread(training.Means()) > 8, spread(test.Means()) > 8
	return &chart.Sheet{Name: name, Title: title, Rows: [][]*chart.Panel{{training, test, accuracy}, w.ends(names, at, looks)},
		Caption: fmt.Sprintf("Above: mean over the finished runs of %s with its 95 %% interval as a band, against ηK/(1 − μ), with η as it is before any division and K iterations made. Below: the end of each arm, mean and 95 %% interval (Student's t).", w.seeds()) +
			w.measured() + w.gaps()}
}

// progress moves curves by epoch to eta K / (1 - mu), with K iterations made and eta before any division. Divisions come at the same fractions of every run.
func (w *studyReport) progress(p *study.Point, curve []chart.Value) []chart.Value {
	perEpoch := 0
	for _, o := range w.Outcomes {
		if o.Arm == p.Arm && o.Phase == study.Refit {
			perEpoch = o.PerEpoch
		}
	}
	for i := range curve {
		curve[i].X *= float64(perEpoch) * p.LR / (1 - w.Spec.GetBase().GetOptimizer().GetMomentum())
	}
	return curve
}

// armLooks are the looks of the arms: a colour for each setting, shape and dashes for each noise.
func (w *studyReport) armLooks(at map[int]int) map[int]chart.Look {
	out := map[int]chart.Look{}
	noises := append([]string{noiseNone}, w.noises()...)
	for _, p := range w.Points {
		look := noiseLook(p.Noise)
		look.Color = chart.Looks[at[p.Arm]%len(chart.Looks)].Color
		look.Dashes = [][]vg.Length{{2, 2}, nil, {7, 2}, {7, 2, 2, 2}}[min(3, slices.Index(noises, p.Noise))]
		out[p.Arm] = look
	}
	return out
}

// ends are the panels of what arms came to, by the settings in which they differ; arms that share one stand side by side.
func (w *studyReport) ends(names []string, at map[int]int, looks map[int]chart.Look) (row []*chart.Panel) {
	sharing, place := map[int]int{}, map[int]int{} // arms of a setting; which of them an arm is
	for _, p := range w.Points {
		place[p.Arm] = sharing[at[p.Arm]]
		sharing[at[p.Arm]]++
	}
	for _, q := range []quantity{gradientNorm, testAccuracy, trainingLoss} {
		panel := &chart.Panel{Title: capital(q.name) + " at the end", X: chart.Axis{Categories: names}, Y: w.axis(q), Empty: "no finished run yet"}
		w.teacherLevel(panel, q)
		for i := range w.Points {
			p := &w.Points[i]
			if e := q.of(p); e != nil {
				k := at[p.Arm]
				panel.Points(p.Name, looks[p.Arm], 2*chart.Offsets(sharing[k])[place[p.Arm]], []chart.Value{value(float64(k), e)})
			}
		}
		row = append(row, panel)
	}
	return row
}

// settings are the names of what differs between arms but for the kind of noise, in the order of the arms, and which of them an arm has.
func (w *studyReport) settings() (names []string, at map[int]int) {
	at = map[int]int{}
	differs := func(of func(*study.Point) float64) bool {
		return slices.ContainsFunc(w.Points, func(p study.Point) bool { return of(&p) != of(&w.Points[0]) })
	}
	batch, lr := differs(func(p *study.Point) float64 { return float64(p.Batch) }), differs(func(p *study.Point) float64 { return p.LR })
	scale := w.Spec.GetDesign() == ditherv1.DesignLabelNoise && differs(func(p *study.Point) float64 { return p.Scale })
	for i := range w.Points {
		p := &w.Points[i]
		var parts []string
		if batch {
			parts = append(parts, fmt.Sprintf("B %d", p.Batch))
		}
		if lr {
			parts = append(parts, fmt.Sprintf("η %.3g", p.LR))
		}
		if scale {
			parts = append(parts, fmt.Sprintf("%s %.3g", symbol(p.Noise), p.Scale))
		}
		name := strings.Join(parts, "\n")
		k := slices.Index(names, name)
		if k < 0 {
			k, names = len(names), append(names, name)
		}
		at[p.Arm] = k
	}
	return names, at
}
