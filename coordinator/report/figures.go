package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/dither-ml/dither/coordinator/runlog"
)

// figure is one picture of the page and one file.
type figure struct {
	Name    string // of the file, without .svg
	Title   string
	Caption string // says in words what is to be seen; it is the picture's alternative text too
	svg     []byte
}

// maxPoints is what a curve is thinned to, by means over equal stretches: more cannot be seen, and a page stays small.
const maxPoints = 500

// Okabe and Ito's colours, which nearly everybody can tell apart.
var (
	pale   = color.NRGBA{0xbf, 0xd7, 0xea, 0xff}
	blue   = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	orange = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	green  = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	grey   = color.NRGBA{0x59, 0x63, 0x6e, 0xff}
	light  = color.NRGBA{0xe4, 0xe7, 0xeb, 0xff}
)

// figures draws what there is to draw.
func (r *run) figures() ([]figure, error) {
	var out []figure
	for _, draw := range []func() (*figure, error){r.lossFigure, r.accuracyFigure, r.gradientNormFigure} {
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

func (r *run) lossFigure() (*figure, error) {
	all := points(r.Iterations, func(it runlog.Iteration) float64 { return it.Loss })
	if len(all) == 0 {
		return nil, nil
	}
	c := newChart("training loss")
	c.noisy("training batches", all)
	if low, high := plotter.Range(plotter.YValues{XYer: all}); low > 0 && high/low > 30 {
		c.plot.Y.Scale, c.plot.Y.Tick.Marker = plot.LogScale{}, decades{}
	}
	first, last := all[0], all[len(all)-1]
	return c.figure("loss", "Loss", fmt.Sprintf("Training loss by iteration: %.4g at iteration %.0f, %.4g at iteration %.0f. The pale line is batches, the dark one their running mean.", first.Y, first.X, last.Y, last.X))
}

func (r *run) accuracyFigure() (*figure, error) {
	all := points(r.Iterations, func(it runlog.Iteration) float64 { return it.Accuracy })
	if len(all) == 0 {
		return nil, nil
	}
	c := newChart("accuracy")
	c.noisy("training batches", all)
	caption := fmt.Sprintf("Accuracy by iteration: of the training batches, %s at the end", percent(&all[len(all)-1].Y))
	for _, s := range []struct {
		split string
		color color.Color
	}{{"validation", green}, {"test", orange}} {
		evaluated := r.evaluations(func(e runlog.Event) *float64 {
			if e.Split == s.split {
				return e.Accuracy
			}
			return nil
		})
		if len(evaluated) > 0 {
			c.dotted(s.split, evaluated, s.color)
			caption += fmt.Sprintf("; %s, %s", s.split, percent(&evaluated[len(evaluated)-1].Y))
		}
	}
	if m, ok := r.teachers(); ok && m.testAccuracy != nil {
		c.level("teacher, test", *m.testAccuracy, float64(r.applied()))
		caption += fmt.Sprintf("; the teacher's on test images, %s", percent(m.testAccuracy))
	}
	c.plot.Y.Min, c.plot.Y.Max = 0, 1
	c.plot.Y.Tick.Marker = percents{}
	return c.figure("accuracy", "Accuracy", caption+".")
}

// gradientNormFigure needs two of them: one is in the table.
func (r *run) gradientNormFigure() (*figure, error) {
	all := r.evaluations(func(e runlog.Event) *float64 { return e.GradientNorm })
	if len(all) < 2 {
		return nil, nil
	}
	c := newChart("gradient norm")
	c.dotted("student", all, blue)
	if m, ok := r.teachers(); ok && m.gradientNorm != nil {
		c.level("teacher", *m.gradientNorm, float64(r.applied()))
	}
	return c.figure("gradient-norm", "Gradient norm", fmt.Sprintf("Gradient norm by iteration: %.6g at first, %.6g at last.", all[0].Y, all[len(all)-1].Y))
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

// chart is a plot in the making; the first error of its parts is kept.
type chart struct {
	plot  *plot.Plot
	names []string // of the curves, for the legend
	looks []draw.LineStyle
	err   error
}

func newChart(y string) *chart {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "iteration", y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font = sans(11)
		a.Tick.Label.Font = sans(10)
		a.Label.TextStyle.Color, a.Tick.Label.Color, a.LineStyle.Color, a.Tick.LineStyle.Color = grey, grey, grey, grey
		a.Padding = 4
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, light
	p.Add(grid)
	return &chart{plot: p}
}

func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func (c *chart) line(name string, xys plotter.XYs, style draw.LineStyle) {
	l, err := plotter.NewLine(xys)
	if err != nil {
		c.err = err
		return
	}
	l.LineStyle = style
	c.plot.Add(l)
	if name != "" {
		c.names, c.looks = append(c.names, name), append(c.looks, style)
	}
}

// noisy is a pale line and its running mean.
func (c *chart) noisy(name string, all plotter.XYs) {
	thin := thinned(all)
	c.line("", thin, draw.LineStyle{Color: pale, Width: 1})
	c.line(name, smoothed(thin, max(1, len(thin)/40)), draw.LineStyle{Color: blue, Width: 1.8})
}

func (c *chart) dotted(name string, xys plotter.XYs, color color.Color) {
	c.line(name, xys, draw.LineStyle{Color: color, Width: 1.8})
	s, err := plotter.NewScatter(thinned(xys))
	if err != nil {
		c.err = err
		return
	}
	s.GlyphStyle = draw.GlyphStyle{Color: color, Radius: 2.4, Shape: draw.CircleGlyph{}}
	c.plot.Add(s)
}

// level is a dashed line across.
func (c *chart) level(name string, y, end float64) {
	c.line(name, plotter.XYs{{X: 0, Y: y}, {X: end, Y: y}}, draw.LineStyle{Color: grey, Width: 1.4, Dashes: []vg.Length{5, 4}})
}

// legend is one line above the plot, where it hides nothing.
func (c *chart) legend(area draw.Canvas) {
	style := c.plot.X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	at := vg.Point{X: area.Min.X + 42, Y: area.Max.Y - 9}
	for i, name := range c.names {
		area.StrokeLine2(c.looks[i], at.X, at.Y, at.X+16, at.Y)
		at.X += 20
		area.FillText(style, at, name)
		at.X += style.Width(name) + 12
	}
}

func (c *chart) figure(name, title, caption string) (*figure, error) {
	if c.err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, c.err)
	}
	c.plot.X.Min = 0
	canvas := vgsvg.New(12.5*vg.Centimeter, 7.5*vg.Centimeter)
	area := draw.New(canvas)
	c.legend(area)
	area.Max.Y -= 22
	area.Max.X -= 10 // half of the last tick's label
	c.plot.Draw(area)
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, err)
	}
	// Liberation Sans has Arial's measures: where it is not installed, that takes its place.
	svg := strings.ReplaceAll(b.String(), "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	return &figure{name, title, caption, []byte(svg)}, nil
}

// thinned is at most maxPoints points, each the mean of a stretch.
func thinned(all plotter.XYs) plotter.XYs {
	stretch := (len(all) + maxPoints - 1) / maxPoints
	if stretch <= 1 {
		return all
	}
	var out plotter.XYs
	for from := 0; from < len(all); from += stretch {
		out = append(out, mean(all[from:min(from+stretch, len(all))]))
	}
	return out
}

// smoothed is the mean over each point and so many on either side, as far as there are.
func smoothed(all plotter.XYs, side int) plotter.XYs {
	out := make(plotter.XYs, len(all))
	for i, p := range all {
		out[i] = plotter.XY{X: p.X, Y: mean(all[max(0, i-side):min(len(all), i+side+1)]).Y}
	}
	return out
}

func mean(xys plotter.XYs) plotter.XY {
	var x, y float64
	for _, p := range xys {
		x += p.X
		y += p.Y
	}
	return plotter.XY{X: x / float64(len(xys)), Y: y / float64(len(xys))}
}

// percents are the ticks of an axis of fractions.
type percents struct{}

func (percents) Ticks(low, high float64) (out []plot.Tick) {
	for k := range 6 {
		v := float64(k) / 5
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%d\u00a0%%", 20*k)})
	}
	return out
}

// decades are the ticks of a logarithmic axis: 1, 2 and 5 times a power of ten, in plain digits.
type decades struct{}

func (decades) Ticks(low, high float64) (out []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, k := range []float64{1, 2, 5} {
			if v := k * math.Pow(10, e); v >= low && v <= high {
				out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%.4g", v)})
			}
		}
	}
	return out
}
