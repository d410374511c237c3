package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Side is the length of a panel's sides.
const Side = 5.6 * vg.Centimeter

// legendHeight is what the line above the panels takes.
const legendHeight = 22

// Dark is for what must be seen on any shade.
var Dark = color.NRGBA{0x1f, 0x29, 0x33, 0xff}

// Panel is a small chart among others of its kind: a title, two axes without names, equal scales where a window was set.
type Panel struct {
	Plot   *plot.Plot
	window *Window
	err    error
}

// NewPanel is an empty one.
func NewPanel(title string) *Panel {
	c := New("")
	p := c.Plot
	p.X.Label.Text = ""
	p.Title.Text = title
	p.Title.TextStyle.Font, p.Title.TextStyle.Color, p.Title.Padding = sans(9), Dark, 3
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font = sans(8)
		a.Tick.Length, a.Padding = 4, 2
	}
	return &Panel{Plot: p}
}

// See sets what part of the plane is shown; one unit is as long on either axis.
func (p *Panel) See(w Window) { p.window = &w }

// Add puts something onto the panel, above what is there. What lies outside the window is cut off when it is drawn.
func (p *Panel) Add(parts ...plot.Plotter) { p.Plot.Add(parts...) }

// Curve adds a line.
func (p *Panel) Curve(xys plotter.XYs, style draw.LineStyle) {
	l, err := plotter.NewLine(xys)
	if err != nil {
		p.err = err
		return
	}
	l.LineStyle = style
	p.Plot.Add(l)
}

// Points adds glyphs.
func (p *Panel) Points(xys plotter.XYs, style draw.GlyphStyle) {
	s, err := plotter.NewScatter(xys)
	if err != nil {
		p.err = err
		return
	}
	s.GlyphStyle = style
	p.Plot.Add(s)
}

// draw fills area, which is a square for equal scales to show.
func (p *Panel) draw(area draw.Canvas) {
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

// Sign is an entry of the legend: a line, a glyph, or a patch of a colour.
type Sign struct {
	Name  string
	Line  *draw.LineStyle
	Glyph *draw.GlyphStyle
	Patch color.Color
}

func (s Sign) draw(area draw.Canvas, at vg.Point) {
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

// Panels is a figure of panels in rows of so many columns, under one legend.
func Panels(name, title, caption string, columns int, panels []*Panel, signs []Sign) (*Figure, error) {
	for _, p := range panels {
		if p.err != nil {
			return nil, fmt.Errorf("drawing %s, %q: %w", name, p.Plot.Title.Text, p.err)
		}
	}
	columns = max(1, min(columns, len(panels)))
	rows := (len(panels) + columns - 1) / columns
	above := vg.Length(0)
	if len(signs) > 0 {
		above = legendHeight
	}
	canvas := vgsvg.New(vg.Length(columns)*Side, vg.Length(rows)*Side+above)
	whole := draw.New(canvas)
	style := New("").Plot.X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	at := vg.Point{X: whole.Min.X + 6, Y: whole.Max.Y - legendHeight/2}
	for _, s := range signs {
		s.draw(whole, at)
		at.X += 21
		whole.FillText(style, at, s.Name)
		at.X += style.Width(s.Name) + 14
	}
	for i, p := range panels {
		left, top := whole.Min.X+vg.Length(i%columns)*Side, whole.Max.Y-above-vg.Length(i/columns)*Side
		p.draw(draw.Canvas{Canvas: canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: left + 4, Y: top - Side + 4}, Max: vg.Point{X: left + Side - 2, Y: top - 4}}})
	}
	svg, err := text(canvas)
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, err)
	}
	return &Figure{name, title, caption, svg}, nil
}

// text is what was drawn. Liberation Sans has Arial's measures: where it is not installed, that takes its place.
func text(canvas *vgsvg.Canvas) ([]byte, error) {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(b.String(), "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")), nil
}

// Swatch is an entry's line, glyph or patch alone, as an svg element that a reader of the text beside it need not hear of.
func Swatch(s Sign) string {
	canvas := vgsvg.New(18, 12)
	area := draw.New(canvas)
	s.draw(area, vg.Point{X: area.Min.X + 1, Y: area.Max.Y - 6})
	svg, err := text(canvas)
	if err != nil {
		return "" // a buffer never fails
	}
	_, inner, _ := strings.Cut(string(svg), "<svg")
	_, inner, _ = strings.Cut(inner, ">")
	return `<svg xmlns="http://www.w3.org/2000/svg" width="27" height="18" viewBox="0 0 18 12" aria-hidden="true">` + inner
}
