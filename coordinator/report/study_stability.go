package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/dither-ml/dither/coordinator/report/chart"
)

// StabilityFile of a study's folder holds what perturbed parameters do to the outputs, where that was measured: an array of networks.
const StabilityFile = "stability.json"

// stability is a network whose trainable parameters were perturbed by N(0, sd^2 I).
type stability struct {
	Name           string           `json:"name"`
	SHA256         string           `json:"sha256"` // of the parameters
	GradientNorm   float64          `json:"gradient_norm"`
	Images         int              `json:"images"` // training images, of change and gradient norm
	Draws          int              `json:"draws"`
	Split          string           `json:"split"` // of the accuracies
	AccuracyImages int              `json:"accuracy_images"`
	Accuracy       *float64         `json:"accuracy"` // of the network as it is
	Scales         []stabilityScale `json:"scales"`
}

// stabilityScale is one size of the perturbation. Means and 95 % intervals are over draws.
type stabilityScale struct {
	SD           float64  `json:"sd"`
	ChangeMean   *float64 `json:"change_mean"` // of the mean over images of ||f(x; theta+delta) - f(x; theta)||^2; nil where a draw's logits were not finite
	ChangeLow    *float64 `json:"change_low"`
	ChangeHigh   *float64 `json:"change_high"`
	FirstOrder   float64  `json:"first_order"` // gradient norm times sd^2
	AccuracyMean float64  `json:"accuracy_mean"`
	AccuracyLow  *float64 `json:"accuracy_low"`
	AccuracyHigh *float64 `json:"accuracy_high"`
	NotFinite    int      `json:"not_finite"` // draws whose logits were not
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
	accuracy := &chart.Panel{Title: w.stabilitySplit() + " under perturbation", X: x, Y: chart.Axis{Name: "accuracy", Percent: true}, Empty: "nothing was measured"}
	caption := "Trainable parameters perturbed by N(0, sd² I): mean squared change of the logits of an image, and beside it the first-order value, gradient norm times sd²; and accuracy. Means and 95 % intervals (Student's t) are over draws."
	for i, s := range w.stability {
		look := chart.Looks[i%len(chart.Looks)]
		var changes, first, accuracies []chart.Value
		lost := 0
		for _, c := range s.Scales {
			v := c.SD * c.SD
			mean := math.NaN()
			if c.ChangeMean != nil {
				mean = *c.ChangeMean
			}
			changes = append(changes, chart.Value{X: v, Y: mean, Low: c.ChangeLow, High: c.ChangeHigh, N: s.Draws})
			first = append(first, chart.Value{X: v, Y: c.FirstOrder, N: s.Images})
			accuracies = append(accuracies, chart.Value{X: v, Y: c.AccuracyMean, Low: c.AccuracyLow, High: c.AccuracyHigh, N: s.Draws})
			lost += c.NotFinite
		}
		for _, values := range [][]chart.Value{changes, first, accuracies} {
			slices.SortStableFunc(values, byX)
		}
		change.Curve(s.Name+", first order", look, first)
		change.Points(s.Name, look, 0, changes)
		accuracy.Points(s.Name, look, 0, accuracies)
		caption += fmt.Sprintf(" %s: gradient norm %s over %s, %s", capital(s.Name), chart.Plain(s.GradientNorm), count(s.Images, "training image"), count(s.Draws, "draw"))
		if s.Accuracy != nil {
			caption += fmt.Sprintf(", accuracy %s as it is on %s", percent(s.Accuracy), count(s.AccuracyImages, s.Split+" image"))
		}
		if lost > 0 {
			caption += fmt.Sprintf(", %s not finite and not in the change", countAre(lost, "perturbed network"))
		}
		caption += "."
	}
	return &chart.Sheet{Name: "stability", Title: "Inference stability: outputs and accuracy under perturbed parameters", Caption: caption, Rows: [][]*chart.Panel{{change, accuracy}}}
}

// stabilitySplit is what the accuracies are called.
func (w *studyReport) stabilitySplit() string {
	for _, s := range w.stability {
		if s.Split != "test" {
			return "Accuracy"
		}
	}
	return "Test accuracy"
}
