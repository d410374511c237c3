package chart

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Look is how a series is told from others: by colour, and by shape or dashes for those who see no colours.
type Look struct {
	Color  color.NRGBA
	Shape  draw.GlyphDrawer // of points
	Dashes []vg.Length      // of lines
}

// Looks of series that have no meaning of their own, to be taken in turn.
var Looks = []Look{
	{Blue, draw.CircleGlyph{}, nil},
	{Orange, draw.BoxGlyph{}, []vg.Length{7, 2}},
	{Green, draw.PyramidGlyph{}, []vg.Length{3, 2}},
	{Purple, diamond{}, []vg.Length{7, 2, 2, 2}},
	{Gold, draw.CrossGlyph{}, []vg.Length{2, 2}},
	{Ink, draw.RingGlyph{}, []vg.Length{9, 3, 3, 3}},
}

// diamond is a square on its corner.
type diamond struct{}

func (diamond) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	var p vg.Path
	r := 1.2 * s.Radius
	p.Move(vg.Point{X: at.X, Y: at.Y + r})
	p.Line(vg.Point{X: at.X + r, Y: at.Y})
	p.Line(vg.Point{X: at.X, Y: at.Y - r})
	p.Line(vg.Point{X: at.X - r, Y: at.Y})
	p.Close()
	c.SetColor(s.Color)
	c.Fill(p)
}

const (
	markerRadius = 3
	ringRadius   = 6.5
)

func (l Look) line(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: l.Color, Width: width, Dashes: l.Dashes}
}

func (l Look) bar() draw.LineStyle { return draw.LineStyle{Color: l.Color, Width: 1.2} }

func (l Look) glyph() draw.GlyphStyle {
	g := draw.GlyphStyle{Color: l.Color, Radius: markerRadius, Shape: l.Shape}
	if g.Shape == nil {
		g.Shape = draw.CircleGlyph{}
	}
	return g
}

// pale is the colour of a band: it lets what is below be seen.
func (l Look) pale() color.NRGBA {
	c := l.Color
	c.A = 0x2e
	return c
}

// drawn is a mark in its panel, as gonum draws it.
type drawn struct {
	mark
	panel *Panel
}

// Plot draws the mark into c, which is the area of the data.
func (d *drawn) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	y := func(v float64) vg.Length { // within the area; what has no place on a logarithmic axis lies below
		if v <= p.Y.Min {
			return c.Min.Y
		}
		return toY(min(v, p.Y.Max))
	}
	var has []Value
	for _, v := range d.values {
		if d.panel.Y.has(v.Y) && (d.kind == level || d.panel.X.has(v.X)) {
			has = append(has, v)
		}
	}
	switch d.kind {
	case level:
		for _, v := range has {
			if low, high, ok := v.interval(); ok {
				c.FillPolygon(d.look.pale(), []vg.Point{{X: c.Min.X, Y: y(low)}, {X: c.Max.X, Y: y(low)}, {X: c.Max.X, Y: y(high)}, {X: c.Min.X, Y: y(high)}})
			}
			c.StrokeLine2(d.look.line(1.4), c.Min.X, y(v.Y), c.Max.X, y(v.Y))
		}
	case curve:
		var line, above, below []vg.Point
		for _, v := range has {
			x := toX(v.X)
			line = append(line, vg.Point{X: x, Y: y(v.Y)})
			if low, high, ok := v.interval(); ok {
				below, above = append(below, vg.Point{X: x, Y: y(low)}), append(above, vg.Point{X: x, Y: y(high)})
			}
		}
		for i := len(above) - 1; i >= 0; i-- {
			below = append(below, above[i])
		}
		if len(below) > 2 {
			c.FillPolygon(d.look.pale(), below)
		}
		c.StrokeLines(d.look.line(1.7), line)
	case points:
		var line []vg.Point
		for _, v := range has {
			line = append(line, vg.Point{X: toX(v.X) + d.offset, Y: y(v.Y)})
		}
		if d.panel.X.Categories == nil {
			thin := d.look.line(0.7)
			thin.Dashes = nil
			c.StrokeLines(thin, line)
		}
		for i, v := range has {
			if low, high, ok := v.interval(); ok {
				d.bar(c, line[i].X, y(low), y(high), low > p.Y.Min, high < p.Y.Max)
			}
			c.DrawGlyph(d.look.glyph(), line[i])
		}
	case ring:
		for _, v := range has {
			circle(c, d.look, vg.Point{X: toX(v.X) + d.offset, Y: y(v.Y)}, ringRadius)
		}
	}
}

// bar is an error bar; an end that lies outside has no cap.
func (d *drawn) bar(c draw.Canvas, x, low, high vg.Length, lowCap, highCap bool) {
	const half = 2.5
	style := d.look.bar()
	c.StrokeLine2(style, x, low, x, high)
	if lowCap {
		c.StrokeLine2(style, x-half, low, x+half, low)
	}
	if highCap {
		c.StrokeLine2(style, x-half, high, x+half, high)
	}
}

func circle(c draw.Canvas, look Look, at vg.Point, radius vg.Length) {
	var p vg.Path
	p.Move(vg.Point{X: at.X + radius, Y: at.Y})
	p.Arc(at, radius, 0, 2*math.Pi)
	p.Close()
	c.SetLineStyle(draw.LineStyle{Color: look.Color, Width: 1.3})
	c.Stroke(p)
}

// GlyphBoxes keep markers and rings within the picture.
func (d *drawn) GlyphBoxes(p *plot.Plot) (out []plot.GlyphBox) {
	radius := vg.Length(0)
	switch d.kind {
	case points:
		radius = markerRadius
	case ring:
		radius = ringRadius + 1
	default:
		return nil
	}
	for _, v := range d.values {
		if d.panel.X.has(v.X) && d.panel.Y.has(v.Y) {
			out = append(out, plot.GlyphBox{X: p.X.Norm(v.X), Y: p.Y.Norm(v.Y), Rectangle: vg.Rectangle{Min: vg.Point{X: d.offset - radius, Y: -radius}, Max: vg.Point{X: d.offset + radius, Y: radius}}})
		}
	}
	return out
}

// swatch is the mark's sign in a legend, in an area of 24 by 12.
func (m mark) swatch(c draw.Canvas) {
	at := c.Center()
	left, right := c.Min.X+1, c.Max.X-1
	switch m.kind {
	case level, curve:
		if _, _, ok := m.values[0].interval(); ok {
			c.FillPolygon(m.look.pale(), []vg.Point{{X: left, Y: at.Y - 4}, {X: right, Y: at.Y - 4}, {X: right, Y: at.Y + 4}, {X: left, Y: at.Y + 4}})
		}
		c.StrokeLine2(m.look.line(1.6), left, at.Y, right, at.Y)
	case points:
		(&drawn{mark: m}).bar(c, at.X, at.Y-5, at.Y+5, true, true)
		c.DrawGlyph(m.look.glyph(), at)
	case ring:
		circle(c, m.look, at, 5)
	}
}
