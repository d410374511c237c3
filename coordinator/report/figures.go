package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/runlog"
)

// figures draws what there is to draw.
func (r *run) figures() ([]chart.Figure, error) {
	var out []chart.Figure
	for _, draw := range []func() (*chart.Figure, error){r.lossFigure, r.accuracyFigure, r.gradientNormFigure} {
		f, err := draw()
		if err != nil {
			return nil, err
		}
		if f != nil {
			out = append(out, *f)
		}
	}
	return out, nil
}

func (r *run) lossFigure() (*chart.Figure, error) {
	all := points(r.Iterations, func(it runlog.Iteration) float64 { return it.Loss })
	if len(all) == 0 {
		return nil, nil
	}
	c := chart.New("training loss")
	c.Noisy("training batches", all)
	if low, high := plotter.Range(plotter.YValues{XYer: all}); low > 0 && high/low > 30 {
		c.Plot.Y.Scale, c.Plot.Y.Tick.Marker = plot.LogScale{}, chart.Decades{}
	}
	first, last := all[0], all[len(all)-1]
	return c.Figure("loss", "Loss", fmt.Sprintf("Training loss by iteration: %.4g at iteration %.0f, %.4g at iteration %.0f. The pale line is batches, the dark one their running mean.", first.Y, first.X, last.Y, last.X))
}

func (r *run) accuracyFigure() (*chart.Figure, error) {
	all := points(r.Iterations, func(it runlog.Iteration) float64 { return it.Accuracy })
	if len(all) == 0 {
		return nil, nil
	}
	c := chart.New("accuracy")
	c.Noisy("training batches", all)
	caption := fmt.Sprintf("Accuracy by iteration: of the training batches, %s at the end", percent(&all[len(all)-1].Y))
	for _, s := range []struct {
		split string
		color color.Color
	}{{"validation", chart.Green}, {"test", chart.Orange}} {
		evaluated := r.evaluations(func(e runlog.Event) *float64 {
			if e.Split == s.split {
				return e.Accuracy
			}
			return nil
		})
		if len(evaluated) > 0 {
			c.Dotted(s.split, evaluated, s.color)
			caption += fmt.Sprintf("; %s, %s", s.split, percent(&evaluated[len(evaluated)-1].Y))
		}
	}
	if m, ok := r.teachers(); ok && m.testAccuracy != nil {
		c.Level("teacher, test", *m.testAccuracy, float64(r.applied()))
		caption += fmt.Sprintf("; the teacher's on test images, %s", percent(m.testAccuracy))
	}
	c.Plot.Y.Min, c.Plot.Y.Max = 0, 1
	c.Plot.Y.Tick.Marker = chart.Percents{}
	return c.Figure("accuracy", "Accuracy", caption+".")
}

// gradientNormFigure needs two of them: one is in the table.
func (r *run) gradientNormFigure() (*chart.Figure, error) {
	all := r.evaluations(func(e runlog.Event) *float64 { return e.GradientNorm })
	if len(all) < 2 {
		return nil, nil
	}
	c := chart.New("gradient norm")
	c.Dotted("student", all, chart.Blue)
	if m, ok := r.teachers(); ok && m.gradientNorm != nil {
		c.Level("teacher", *m.gradientNorm, float64(r.applied()))
	}
	return c.Figure("gradient-norm", "Gradient norm", fmt.Sprintf("Gradient norm by iteration: %.6g at first, %.6g at last.", all[0].Y, all[len(all)-1].Y))
}

// points is one number of each iteration, where it is a number.
func points(its []runlog.Iteration, value func(runlog.Iteration) float64) plotter.XYs {
	var out plotter.XYs
	for _, it := range its {
		if v := value(it); !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, plotter.XY{X: float64(it.Iteration), Y: v})
		}
	}
	return out
}

// evaluations is one number of each evaluation that has it; of two at one iteration (done again by a resumed run) the later.
func (r *run) evaluations(value func(runlog.Event) *float64) plotter.XYs {
	var out plotter.XYs
	for _, e := range r.Events {
		v := value(e)
		if e.Kind != runlog.KindEvaluation || v == nil {
			continue
		}
		for len(out) > 0 && out[len(out)-1].X >= float64(e.Iteration) {
			out = out[:len(out)-1]
		}
		out = append(out, plotter.XY{X: float64(e.Iteration), Y: *v})
	}
	return out
}
