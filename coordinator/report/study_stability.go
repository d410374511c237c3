package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dither-ml/dither/coordinator/report/chart"
)

// StabilityFile of a study's folder holds what perturbed parameters do to the outputs, where that was measured: an array of networks.
const StabilityFile = "stability.json"

// stability is a network whose parameters were perturbed by theta + N(0, sd^2 I).
type stability struct {
	Name         string           `json:"name"`
	SHA256       string           `json:"sha256"`
	GradientNorm float64          `json:"gradient_norm"`
	Images       int              `json:"images"`
	Draws        int              `json:"draws"`
	Scales       []stabilityScale `json:"scales"`
}

// stabilityScale is one size of the perturbation.
type stabilityScale struct {
	SD           float64  `json:"sd"`
	ChangeMean   float64  `json:"change_mean"` // of ||f(x; theta+delta) - f(x; theta)||^2, over images and draws
	ChangeLow    *float64 `json:"change_low"`  // of its 95 % interval
	ChangeHigh   *float64 `json:"change_high"`
	FirstOrder   float64  `json:"first_order"` // gradient norm times sd^2
	AccuracyMean float64  `json:"accuracy_mean"`
	AccuracyLow  *float64 `json:"accuracy_low"`
	AccuracyHigh *float64 `json:"accuracy_high"`
}

func readStability(dir string) (out []stability, err error) {
	path := filepath.Join(dir, StabilityFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s is not what perturbations are written as (an array of networks): %w", path, err)
	}
	return out, nil
}

// stabilityFigure is what perturbed parameters change, beside its first-order value, and what they cost in accuracy.
func (w *studyReport) stabilityFigure() *chart.Sheet {
	if len(w.stability) == 0 {
		return nil
	}
	x := chart.Axis{Name: "variance of the perturbation, sd²", Log: true}
	change := &chart.Panel{Title: "Change of the outputs", X: x, Y: chart.Axis{Name: "E ‖f(x; θ + δ) − f(x; θ)‖²", Log: true}, Empty: "nothing was measured"}
	accuracy := &chart.Panel{Title: "Test accuracy under perturbation", X: x, Y: chart.Axis{Name: testAccuracy.name, Percent: true}, Empty: "nothing was measured"}
	caption := "Parameters perturbed by N(0, sd² I): mean squared change of the logits of an image, with its 95 % interval, and beside it the first-order value, gradient norm times sd²; and test accuracy."
	for i, s := range w.stability {
		look := chart.Looks[i%len(chart.Looks)]
		var changes, first, accuracies []chart.Value
		for _, c := range s.Scales {
			v := c.SD * c.SD
			changes = append(changes, chart.Value{X: v, Y: c.ChangeMean, Low: c.ChangeLow, High: c.ChangeHigh, N: s.Images * s.Draws})
			first = append(first, chart.Value{X: v, Y: c.FirstOrder, N: s.Images})
			accuracies = append(accuracies, chart.Value{X: v, Y: c.AccuracyMean, Low: c.AccuracyLow, High: c.AccuracyHigh, N: s.Draws})
		}
		for _, values := range [][]chart.Value{changes, first, accuracies} {
			slices.SortStableFunc(values, byX)
		}
		change.Curve(s.Name+", first order", look, first)
		change.Points(s.Name, look, 0, changes)
		accuracy.Points(s.Name, look, 0, accuracies)
		caption += fmt.Sprintf(" %s: gradient norm %s over %s, %s.", capital(s.Name), chart.Plain(s.GradientNorm), count(s.Images, "image"), count(s.Draws, "draw"))
	}
	return &chart.Sheet{Name: "stability", Title: "Inference stability: outputs and accuracy under perturbed parameters", Caption: caption, Rows: [][]*chart.Panel{{change, accuracy}}}
}
