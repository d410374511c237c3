package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/study"
)

// figure2 is the paper's Figure 2: gradient norm, validation accuracy and test accuracy against the scale, a row for each noise.
func (w *studyReport) figure2() *chart.Sheet {
	sheet := &chart.Sheet{Name: "figure2", Title: "Figure 2: gradient norm and accuracy against the scale of the noise"}
	for _, noise := range w.noises() {
		sheet.Rows = append(sheet.Rows, w.scaleRow(noise))
	}
	if len(sheet.Rows) == 0 {
		return nil
	}
	sheet.Caption = fmt.Sprintf("Mean and 95 %% interval (Student's t) over %s. Validation accuracy is of networks trained without the held-out images, on which the scale is chosen; gradient norm and test accuracy are of networks trained on all training images, tested once.", w.seeds())
	if chosen := w.chosen(); chosen != "" {
		sheet.Caption += " Chosen: " + chosen + "."
	}
	sheet.Caption += w.gaps()
	return sheet
}

// noises are the kinds of noise in the study, none but for it, in the order of the arms.
func (w *studyReport) noises() (out []string) {
	for _, p := range w.Points {
		if p.Noise != noiseNone && !slices.Contains(out, p.Noise) {
			out = append(out, p.Noise)
		}
	}
	return out
}

// chosen says in words which scales were.
func (w *studyReport) chosen() string {
	var out []string
	for _, c := range w.Choices {
		if p := w.point(c.Arm); p != nil && c.Noise != noiseNone {
			out = append(out, p.Name)
		}
	}
	return strings.Join(out, " and ")
}

// point is an arm's; nil: it has none.
func (w *studyReport) point(arm int) *study.Point {
	for i := range w.Points {
		if w.Points[i].Arm == arm {
			return &w.Points[i]
		}
	}
	return nil
}

func (w *studyReport) scaleRow(noise string) (row []*chart.Panel) {
	x := chart.Axis{Name: scaleName(noise)}
	var scales []float64
	for _, p := range w.Points {
		if p.Noise == noise {
			scales = append(scales, p.Scale)
		}
	}
	x.Log, x.Holds = spread(scales) > 150, scales // a scale at which nothing trained is a gap
	for _, q := range []quantity{gradientNorm, validationAccuracy, testAccuracy} {
		panel := &chart.Panel{Title: capital(noiseName(noise)) + ": " + q.name, X: x, Y: w.axis(q), Empty: "no finished run has it"}
		w.teacherLevel(panel, q)
		var values []chart.Value
		for i := range w.Points {
			p := &w.Points[i]
			e := q.of(p)
			switch {
			case e == nil:
			case p.Noise == noiseNone:
				panel.Level(noiseName(noiseNone), noiselessLook, value(0, e))
			case p.Noise == noise:
				values = append(values, value(p.Scale, e))
			}
		}
		slices.SortStableFunc(values, byX)
		panel.Points(noiseName(noise), noiseLook(noise), 0, values)
		if q.name != gradientNorm.name {
			w.ringChosen(panel, noise, q)
		}
		row = append(row, panel)
	}
	return row
}

// ringChosen marks the scale that the held-out images chose.
func (w *studyReport) ringChosen(panel *chart.Panel, noise string, q quantity) {
	for _, c := range w.Choices {
		if p := w.point(c.Arm); c.Noise == noise && p != nil && q.of(p) != nil {
			panel.Ring("chosen on the held-out images", chosenLook, 0, value(p.Scale, q.of(p)))
		}
	}
}
