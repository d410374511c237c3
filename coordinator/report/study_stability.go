package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
