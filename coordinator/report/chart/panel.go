package chart

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Size of a panel. Its letters are of 10 points, so a page that is no wider than the panel can still be read.
const (
	panelWidth  = 300 * vg.Length(1)
	panelHeight = 215 * vg.Length(1)
	axisName    = 18 * vg.Length(1) // height of an axis' name
)

// Panel is one of the small pictures that make a figure: what it shows against what, and marks.
type Panel struct {
	Title string // above it; names the panel in the figure's data
	X, Y  Axis
	Empty string // what it says where nothing is drawn

	marks []mark
}

// kind is how a series is drawn.
type kind int

const (
	points kind = iota // markers with error bars, joined by a thin line
	curve              // a line with a band
	level              // a dashed line across, with a band
	ring               // circles round points, which are in the data already
)

type mark struct {
	kind   kind
	name   string
	look   Look
	values []Value
	offset vg.Length
}

// Points are markers with error bars, shifted sideways by offset so that they do not hide another series' (see Offsets).
func (p *Panel) Points(name string, look Look, offset vg.Length, values []Value) {
	p.add(mark{points, name, look, values, offset})
}

// Curve is a line with a band.
func (p *Panel) Curve(name string, look Look, values []Value) {
	p.add(mark{curve, name, look, values, 0})
}

// Level is a dashed line across with a band; its X has no meaning.
func (p *Panel) Level(name string, look Look, v Value) { p.add(mark{level, name, look, []Value{v}, 0}) }

// Ring is a circle round a point that is drawn with the same offset.
func (p *Panel) Ring(name string, look Look, offset vg.Length, v Value) {
	p.add(mark{ring, name, look, []Value{v}, offset})
}

func (p *Panel) add(m mark) {
	if len(m.values) > 0 {
		p.marks = append(p.marks, m)
	}
}

// Offsets are the sideways shifts of n series, in the order of their names in the legend.
func Offsets(n int) []vg.Length {
	const apart = 5
	out := make([]vg.Length, n)
	for i := range out {
		out[i] = apart * (vg.Length(i) - vg.Length(n-1)/2)
	}
	return out
}

// data are the panel's numbers, those included that have no place on its axes.
func (p *Panel) data() (out []Datum) {
	for _, m := range p.marks {
		if m.kind == ring {
			continue
		}
		for _, v := range m.values {
			d := v.datum(p.Title, m.name)
			switch {
			case m.kind == level:
				d.X = nil
			case p.X.Categories != nil && d.X != nil:
				d.Category, d.X = p.X.Categories[int(v.X)], nil
			}
			out = append(out, d)
		}
	}
	return out
}

// ranges are the axes' ends. All means are inside; an interval that is much wider than the means are apart is cut off, and drawn without its end.
func (p *Panel) ranges() (xlow, xhigh, ylow, yhigh float64, ok bool) {
	xlow, xhigh, ylow, yhigh = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	low, high := ylow, yhigh // of the intervals
	for _, m := range p.marks {
		for _, v := range m.values {
			if !p.Y.has(v.Y) || m.kind != level && !p.X.has(v.X) {
				continue
			}
			ylow, yhigh, ok = min(ylow, v.Y), max(yhigh, v.Y), true
			if m.kind != level {
				xlow, xhigh = min(xlow, v.X), max(xhigh, v.X)
			}
			if l, h, ok := v.interval(); ok {
				high = max(high, h)
				if p.Y.has(l) {
					low = min(low, l)
				}
			}
		}
	}
	if !ok {
		return 0, 1, 0, 1, false
	}
	for _, x := range p.X.Holds {
		if p.X.has(x) {
			xlow, xhigh = min(xlow, x), max(xhigh, x)
		}
	}
	if math.IsInf(xlow, 0) { // levels only
		xlow, xhigh = 1, 2
	}
	if p.Y.logarithmic() {
		reach := max(yhigh/ylow, 2)
		low, high = max(low, ylow/reach), min(high, yhigh*reach)
	} else {
		reach := max(yhigh-ylow, 0.05*math.Abs(yhigh))
		low, high = max(low, ylow-reach), min(high, yhigh+reach)
	}
	ylow, yhigh = min(ylow, low), max(yhigh, high)
	xlow, xhigh = p.X.padded(xlow, xhigh)
	ylow, yhigh = p.Y.padded(ylow, yhigh)
	return xlow, xhigh, ylow, yhigh, true
}

// Means are the values of all series, without their intervals.
func (p *Panel) Means() (out []float64) {
	for _, m := range p.marks {
		for _, v := range m.values {
			if finite(v.Y) {
				out = append(out, v.Y)
			}
		}
	}
	return out
}

// cut tells whether an interval leaves the picture.
func (p *Panel) cut() bool {
	_, _, ylow, yhigh, _ := p.ranges()
	for _, m := range p.marks {
		for _, v := range m.values {
			if low, high, ok := v.interval(); ok && m.kind != ring && (low < ylow || high > yhigh) {
				return true
			}
		}
	}
	return false
}

// draw draws the panel into area.
func (p *Panel) draw(area draw.Canvas) {
	g := newPlot("", "")
	if p.Title != "" {
		style := g.X.Label.TextStyle
		style.Color, style.XAlign, style.YAlign = Ink, draw.XLeft, draw.YTop
		area.FillText(style, vg.Point{X: area.Min.X + 4, Y: area.Max.Y - 2}, p.Title)
		area.Max.Y -= 20
	}
	area.Max.X -= 8
	xlow, xhigh, ylow, yhigh, ok := p.ranges()
	if !ok {
		style := g.X.Tick.Label
		style.XAlign, style.YAlign = draw.XCenter, draw.YCenter
		area.FillText(style, area.Center(), p.Empty)
		return
	}
	p.X.apply(&g.X, xlow, xhigh, 6)
	p.Y.apply(&g.Y, ylow, yhigh, 6)
	for _, k := range []kind{level, curve, points, ring} { // what is wide below what is small
		for _, m := range p.marks {
			if m.kind == k {
				g.Add(&drawn{m, p})
			}
		}
	}
	// The names of the axes are written here: gonum makes room for them as if they stood elsewhere on a logarithmic axis.
	style := g.X.Label.TextStyle
	style.XAlign, style.YAlign = draw.XCenter, draw.YCenter
	names := area
	area.Min.X += axisName
	if p.X.Name != "" {
		area.Min.Y += axisName
	}
	data := g.DataCanvas(area)
	names.FillText(style, vg.Point{X: data.Center().X, Y: names.Min.Y + axisName/2 - 2}, p.X.Name)
	style.Rotation, style.YAlign = math.Pi/2, draw.YBottom
	names.FillText(style, vg.Point{X: names.Min.X + axisName - 5, Y: data.Center().Y}, p.Y.Name)
	g.Draw(area)
}

// alt says in words what the panel shows.
func (p *Panel) alt() string {
	var parts []string
	for _, m := range p.marks {
		var has []Value
		for _, v := range m.values {
			if p.Y.has(v.Y) && (m.kind == level || p.X.has(v.X)) {
				has = append(has, v)
			}
		}
		if len(has) == 0 {
			continue
		}
		first, last := has[0], has[len(has)-1]
		switch {
		case m.kind == ring:
			parts = append(parts, fmt.Sprintf("%s: %s", m.name, p.X.say(first.X)))
		case m.kind == level:
			parts = append(parts, fmt.Sprintf("%s: %s", m.name, p.Y.say(first.Y)))
		case len(has) == 1:
			parts = append(parts, fmt.Sprintf("%s: %s at %s", m.name, p.Y.say(first.Y), p.X.say(first.X)))
		default:
			parts = append(parts, fmt.Sprintf("%s: %s at %s to %s at %s (%d points)", m.name, p.Y.say(first.Y), p.X.say(first.X), p.Y.say(last.Y), p.X.say(last.X), len(has)))
		}
	}
	if len(parts) == 0 {
		parts = []string{p.Empty}
	}
	return fmt.Sprintf("%s. %s against %s. %s.", p.Title, p.Y.Name, p.X.Name, strings.Join(parts, "; "))
}

// say is a value of the axis in words.
func (a *Axis) say(v float64) string {
	switch {
	case a.Categories != nil:
		return a.Categories[int(v)]
	case a.Percent:
		return fmt.Sprintf("%.2f\u00a0%%", 100*v)
	}
	return Plain(v)
}

// newPlot is an empty plot with the look of all.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font = sans(11)
		a.Tick.Label.Font = sans(10)
		a.Label.TextStyle.Color, a.Tick.Label.Color, a.LineStyle.Color, a.Tick.LineStyle.Color = Grey, Grey, Grey, Grey
		a.Padding = 4
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, Light
	p.Add(grid)
	return p
}
