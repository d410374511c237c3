// Package chart is how figures look: one size, one palette that nearly everybody can tell apart, a legend that hides nothing, SVG that is a function of the numbers alone.
package chart

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Figure is one picture of a page and one file.
type Figure struct {
	Name    string // of the file, without .svg
	Title   string
	Caption string // says in words what is to be seen; it is the picture's alternative text too
	SVG     []byte

	// Of a figure of small multiples (Sheet) alone: its parts, for a page that is narrower than the whole; its legend; its numbers.
	Parts   []Picture
	Columns int // of parts in the whole
	Legend  []Sign
	Data    []Datum
}

// maxPoints is what a curve is thinned to, by means over equal stretches: more cannot be seen, and a page stays small.
const maxPoints = 500

// Okabe and Ito's colours, which nearly everybody can tell apart.
var (
	Pale   = color.NRGBA{0xbf, 0xd7, 0xea, 0xff}
	Blue   = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	Orange = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	Green  = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	Purple = color.NRGBA{0x9b, 0x4f, 0x80, 0xff}
	Gold   = color.NRGBA{0xb3, 0x7a, 0x00, 0xff}
	Ink    = color.NRGBA{0x1f, 0x29, 0x33, 0xff}
	Grey   = color.NRGBA{0x59, 0x63, 0x6e, 0xff}
	Light  = color.NRGBA{0xe4, 0xe7, 0xeb, 0xff}
)

// Chart is a plot in the making; the first error of its parts is kept.
type Chart struct {
	Plot  *plot.Plot
	names []string // of the curves, for the legend
	looks []draw.LineStyle
	err   error
}

// New is an empty chart over iterations, with a name for its y axis.
func New(y string) *Chart {
	return &Chart{Plot: newPlot("iteration", y)}
}

func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// Line is a curve, with an entry of the legend unless its name is empty.
func (c *Chart) Line(name string, xys plotter.XYs, style draw.LineStyle) {
	l, err := plotter.NewLine(xys)
	if err != nil {
		c.err = err
		return
	}
	l.LineStyle = style
	c.Plot.Add(l)
	if name != "" {
		c.names, c.looks = append(c.names, name), append(c.looks, style)
	}
}

// Noisy is a pale line and its running mean.
func (c *Chart) Noisy(name string, all plotter.XYs) {
	thin := thinned(all)
	c.Line("", thin, draw.LineStyle{Color: Pale, Width: 1})
	c.Line(name, smoothed(thin, max(1, len(thin)/40)), draw.LineStyle{Color: Blue, Width: 1.8})
}

// Dotted is a curve with its points.
func (c *Chart) Dotted(name string, xys plotter.XYs, color color.Color) {
	c.Line(name, xys, draw.LineStyle{Color: color, Width: 1.8})
	s, err := plotter.NewScatter(thinned(xys))
	if err != nil {
		c.err = err
		return
	}
	s.GlyphStyle = draw.GlyphStyle{Color: color, Radius: 2.4, Shape: draw.CircleGlyph{}}
	c.Plot.Add(s)
}

// Level is a dashed line across.
func (c *Chart) Level(name string, y, end float64) {
	c.Line(name, plotter.XYs{{X: 0, Y: y}, {X: end, Y: y}}, draw.LineStyle{Color: Grey, Width: 1.4, Dashes: []vg.Length{5, 4}})
}

// legend is one line above the plot, where it hides nothing.
func (c *Chart) legend(area draw.Canvas) {
	style := c.Plot.X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	at := vg.Point{X: area.Min.X + 42, Y: area.Max.Y - 9}
	for i, name := range c.names {
		area.StrokeLine2(c.looks[i], at.X, at.Y, at.X+16, at.Y)
		at.X += 20
		area.FillText(style, at, name)
		at.X += style.Width(name) + 12
	}
}

// Figure is the picture, drawn. Its errors are those of its parts.
func (c *Chart) Figure(name, title, caption string) (*Figure, error) {
	if c.err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, c.err)
	}
	c.Plot.X.Min = 0
	svg, err := picture(12.5*vg.Centimeter, 7.5*vg.Centimeter, func(area draw.Canvas) {
		c.legend(area)
		area.Max.Y -= 22
		area.Max.X -= 10 // half of the last tick's label
		c.Plot.Draw(area)
	})
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, err)
	}
	return &Figure{Name: name, Title: title, Caption: caption, SVG: svg}, nil
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

// Percents are the ticks of an axis of fractions.
type Percents struct{}

func (Percents) Ticks(low, high float64) (out []plot.Tick) {
	for k := range 6 {
		v := float64(k) / 5
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%d\u00a0%%", 20*k)})
	}
	return out
}

// Decades are the ticks of a logarithmic axis: 1, 2 and 5 times a power of ten, in plain digits.
type Decades struct{}

func (Decades) Ticks(low, high float64) (out []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, k := range []float64{1, 2, 5} {
			if v := k * math.Pow(10, e); v >= low && v <= high {
				out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%.4g", v)})
			}
		}
	}
	return out
}
