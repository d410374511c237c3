package report

import (
	"fmt"
	"slices"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/study"
)

// figure3 is the paper's Figure 3: training and test loss by epoch, noiseless and with the chosen scale of each noise.
func (w *studyReport) figure3() *chart.Sheet {
	training := &chart.Panel{Title: "training loss (the loss that is minimised)", X: chart.Axis{Name: "epoch"}, Y: chart.Axis{Name: "training loss"}, Empty: "no finished run has it"}
	test := &chart.Panel{Title: "test loss (cross-entropy)", X: chart.Axis{Name: "epoch"}, Y: chart.Axis{Name: "test loss"}, Empty: "no finished run has it"}
	drawn := false
	for _, arm := range w.curveArms() {
		p := w.point(arm)
		curves := w.curves(arm)
		if p == nil || len(curves) == 0 {
			continue
		}
		name := noiseName(p.Noise)
		if p.Noise != noiseNone {
			name += ", chosen scale (" + p.Name + ")"
		}
		training.Curve(name, noiseLook(p.Noise), curveOf(curves, func(e study.Epoch) *float64 { return &e.TrainingLoss }))
		test.Curve(name, noiseLook(p.Noise), curveOf(curves, func(e study.Epoch) *float64 { return e.TestLoss }))
		drawn = true
	}
	if !drawn {
		return nil
	}
	w.teacherLevel(test, testLoss)
	for _, p := range []*chart.Panel{training, test} {
		p.Y.Log = spread(p.Means()) > 8
	}
	return &chart.Sheet{Name: "figure3", Title: "Figure 3: training and test loss by epoch", Rows: [][]*chart.Panel{{training, test}},
		Caption: fmt.Sprintf("Networks trained on all training images: mean over the finished runs of %s, with its 95 %% interval as a band. The training loss has the noise of the labels in it: with noise it does not go to zero.", w.seeds()) + w.gaps()}
}

// curveArms are the arms of Figure 3: noiseless ones, and those that were chosen.
func (w *studyReport) curveArms() (out []int) {
	for _, p := range w.Points {
		if p.Noise == noiseNone {
			out = append(out, p.Arm)
		}
	}
	for _, c := range w.Choices {
		if !slices.Contains(out, c.Arm) {
			out = append(out, c.Arm)
		}
	}
	return out
}

// curves are the epochs of an arm's finished runs on all training images.
func (w *studyReport) curves(arm int) (out [][]study.Epoch) {
	for _, o := range w.Outcomes {
		if o.Arm == arm && o.Phase == study.Refit && o.State == study.Finished && len(o.Epochs) > 0 {
			out = append(out, o.Epochs)
		}
	}
	return out
}

// curveOf is the mean over runs of one number of each epoch that a run has it of.
func curveOf(runs [][]study.Epoch, of func(study.Epoch) *float64) (out []chart.Value) {
	at := map[float64][]float64{}
	for _, epochs := range runs {
		for _, e := range epochs {
			if v := of(e); v != nil {
				at[e.Epoch] = append(at[e.Epoch], *v)
			}
		}
	}
	for epoch, values := range at {
		out = append(out, value(epoch, study.NewEstimate(values)))
	}
	slices.SortFunc(out, byX)
	return out
}
