package chart

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Side is the length of a plane's sides.
const Side = 5.6 * vg.Centimeter

// keysHeight is what the legend above the planes takes.
const keysHeight = 22

// ink is for words that are read first.
var ink = color.NRGBA{0x1f, 0x29, 0x33, 0xff}

// Plane is a small chart among others of its kind that shows a part of the plane: a title, two axes without names, equal scales where a window was set.
type Plane struct {
	Plot   *plot.Plot
	window *Window
	err    error
}

// NewPlane is an empty one.
func NewPlane(title string) *Plane {
	c := New("")
	p := c.Plot
	p.X.Label.Text = ""
	p.Title.Text = title
	p.Title.TextStyle.Font, p.Title.TextStyle.Color, p.Title.Padding = sans(8.5), ink, 3
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font = sans(8)
		a.Tick.Length, a.Padding, a.Tick.Marker = 4, 2, few{}
	}
	return &Plane{Plot: p}
}

// See sets what part of the plane is shown; one unit is as long on either axis.
func (p *Plane) See(w Window) { p.window = &w }

// Name gives the axes names, where they are not those of the plane.
func (p *Plane) Name(x, y string) {
	for _, a := range []struct {
		axis *plot.Axis
		name string
	}{{&p.Plot.X, x}, {&p.Plot.Y, y}} {
		a.axis.Label.Text, a.axis.Label.TextStyle.Font = a.name, sans(8)
	}
}

// Add puts something onto the plane, above what is there. What lies outside the window is cut off when it is drawn.
func (p *Plane) Add(parts ...plot.Plotter) { p.Plot.Add(parts...) }

// Curve adds a line.
func (p *Plane) Curve(xys plotter.XYs, style draw.LineStyle) {
	l, err := plotter.NewLine(xys)
	if err != nil {
		p.err = err
		return
	}
	l.LineStyle = style
	p.Plot.Add(l)
}

// Points adds glyphs.
func (p *Plane) Points(xys plotter.XYs, style draw.GlyphStyle) {
	s, err := plotter.NewScatter(xys)
	if err != nil {
		p.err = err
		return
	}
	s.GlyphStyle = style
	p.Plot.Add(s)
}

// draw fills area, which is a square for equal scales to show.
func (p *Plane) draw(area draw.Canvas) {
	area.Max.X -= 8 // half of the last tick's label
	if w := p.window; w != nil {
		p.Plot.X.Min, p.Plot.X.Max, p.Plot.Y.Min, p.Plot.Y.Max = w.MinX, w.MaxX, w.MinY, w.MaxY
		// The labels of the ticks take from the width, the title from the height: whichever is left longer sees more.
		inner := p.Plot.DataCanvas(area)
		width, height := float64(inner.Max.X-inner.Min.X), float64(inner.Max.Y-inner.Min.Y)
		perX, perY := (w.MaxX-w.MinX)/width, (w.MaxY-w.MinY)/height
		if more := (perY*width - (w.MaxX - w.MinX)) / 2; more > 0 {
			p.Plot.X.Min, p.Plot.X.Max = w.MinX-more, w.MaxX+more
		}
		if more := (perX*height - (w.MaxY - w.MinY)) / 2; more > 0 {
			p.Plot.Y.Min, p.Plot.Y.Max = w.MinY-more, w.MaxY+more
		}
	}
	p.Plot.Draw(area)
}

// few are the ticks of a small chart: at most five, 1, 2 or 5 times a power of ten apart, all with as many decimals as that needs.
type few struct{}

func (few) Ticks(low, high float64) (out []plot.Tick) {
	if !(high > low) {
		return []plot.Tick{{Value: low, Label: fmt.Sprintf("%.3g", low)}}
	}
	power := math.Floor(math.Log10((high - low) / 4))
	step, decimals := 0.0, 0
	for _, k := range []float64{1, 2, 5, 10, 20, 50} {
		step = k * math.Pow(10, power)
		decimals = int(math.Max(0, -math.Floor(math.Log10(step)+1e-9)))
		if math.Floor(high/step)-math.Ceil(low/step) <= 4 {
			break
		}
	}
	for n := math.Ceil(low / step); n*step <= high; n++ {
		label := fmt.Sprintf("%.*f", decimals, n*step)
		if step >= 1e5 || decimals > 6 {
			label = fmt.Sprintf("%.3g", n*step)
		}
		out = append(out, plot.Tick{Value: n * step, Label: label})
	}
	return out
}

// Key is an entry of the legend: a line, a glyph, or a patch of a colour.
type Key struct {
	Name  string
	Line  *draw.LineStyle
	Glyph *draw.GlyphStyle
	Patch color.Color
}

func (s Key) draw(area draw.Canvas, at vg.Point) {
	if s.Patch != nil {
		area.FillPolygon(s.Patch, []vg.Point{{X: at.X, Y: at.Y - 4}, {X: at.X + 16, Y: at.Y - 4}, {X: at.X + 16, Y: at.Y + 4}, {X: at.X, Y: at.Y + 4}})
	}
	if s.Line != nil {
		area.StrokeLine2(*s.Line, at.X, at.Y, at.X+16, at.Y)
	}
	if s.Glyph != nil {
		area.DrawGlyph(*s.Glyph, vg.Point{X: at.X + 8, Y: at.Y})
	}
}

// Planes is a figure of planes in rows of so many columns, under one legend.
func Planes(name, title, caption string, columns int, planes []*Plane, keys []Key) (*Figure, error) {
	for _, p := range planes {
		if p.err != nil {
			return nil, fmt.Errorf("drawing %s, %q: %w", name, p.Plot.Title.Text, p.err)
		}
	}
	columns = max(1, min(columns, len(planes)))
	rows := (len(planes) + columns - 1) / columns
	above := vg.Length(0)
	if len(keys) > 0 {
		above = keysHeight
	}
	canvas := vgsvg.New(vg.Length(columns)*Side, vg.Length(rows)*Side+above)
	whole := draw.New(canvas)
	style := New("").Plot.X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	at := vg.Point{X: whole.Min.X + 6, Y: whole.Max.Y - keysHeight/2}
	for _, s := range keys {
		s.draw(whole, at)
		at.X += 21
		whole.FillText(style, at, s.Name)
		at.X += style.Width(s.Name) + 14
	}
	for i, p := range planes {
		left, top := whole.Min.X+vg.Length(i%columns)*Side, whole.Max.Y-above-vg.Length(i/columns)*Side
		p.draw(draw.Canvas{Canvas: canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: left + 4, Y: top - Side + 4}, Max: vg.Point{X: left + Side - 2, Y: top - 4}}})
	}
	svg, err := svgText(canvas)
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, err)
	}
	return &Figure{Name: name, Title: title, Caption: caption, SVG: svg}, nil
}

// svgText is what was drawn. Liberation Sans has Arial's measures: where it is not installed, that takes its place.
func svgText(canvas *vgsvg.Canvas) ([]byte, error) {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(b.String(), "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")), nil
}

// Swatch is an entry's line, glyph or patch alone, as an svg element that a reader of the text beside it need not hear of.
func Swatch(s Key) string {
	canvas := vgsvg.New(18, 12)
	area := draw.New(canvas)
	s.draw(area, vg.Point{X: area.Min.X + 1, Y: area.Max.Y - 6})
	svg, err := svgText(canvas)
	if err != nil {
		return "" // a buffer never fails
	}
	_, inner, _ := strings.Cut(string(svg), "<svg")
	_, inner, _ = strings.Cut(inner, ">")
	return `<svg xmlns="http://www.w3.org/2000/svg" width="27" height="18" viewBox="0 0 18 12" aria-hidden="true">` + inner
}

// Titled is a figure's file for those who do not see it: with its caption inside.
func (f *Figure) Titled() []byte {
	head, rest, found := bytes.Cut(f.SVG, []byte("<svg"))
	open, inner, closed := bytes.Cut(rest, []byte(">"))
	if !found || !closed {
		return f.SVG
	}
	return slices.Concat(head, []byte("<svg"), open, []byte(" role=\"img\">\n<title>"+html.EscapeString(f.Caption)+"</title>"), inner)
}
