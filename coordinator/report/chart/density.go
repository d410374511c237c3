package chart

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Window is a rectangle of the plane, in data units.
type Window struct {
	MinX float64 `json:"min_x"`
	MaxX float64 `json:"max_x"`
	MinY float64 `json:"min_y"`
	MaxY float64 `json:"max_y"`
}

// Around is the square window of a centre and half a side.
func Around(x, y, half float64) Window { return Window{x - half, x + half, y - half, y + half} }

// Holds says whether a point is inside.
func (w Window) Holds(x, y float64) bool {
	return x >= w.MinX && x < w.MaxX && y >= w.MinY && y < w.MaxY
}

// Density is how many points lie in each cell of a grid over a window.
type Density struct {
	Window Window    `json:"window"`
	Counts [][]int64 `json:"counts"` // [row, the lowest first][column]
	N      int64     `json:"n"`      // points in all, those outside the window too
}

// NewDensity counts points in cells x cells cells. The points are the first two numbers of every row of d in path ([n][d]); what is no number lies outside.
func NewDensity(path []float64, d int, w Window, cells int) *Density {
	q := &Density{Window: w, N: int64(len(path) / d)}
	flat := make([]int64, cells*cells)
	perX, perY := float64(cells)/(w.MaxX-w.MinX), float64(cells)/(w.MaxY-w.MinY)
	for i := 0; i+d <= len(path); i += d {
		// Through the window first: a float64 that is out of int's range becomes any int.
		if x, y := path[i], path[i+1]; w.Holds(x, y) {
			column, row := min(int((x-w.MinX)*perX), cells-1), min(int((y-w.MinY)*perY), cells-1)
			flat[row*cells+column]++
		}
	}
	for row := range slices.Chunk(flat, cells) {
		q.Counts = append(q.Counts, row)
	}
	return q
}

// shades are how dark a cell is, from the palest, each for cells with at least so large a part of the fullest cell's count: half a decade apart at the pale end, since most of a
// bell's area is in its tails.
var shades = []struct {
	part  float64
	color color.NRGBA
}{
	{0, color.NRGBA{0xee, 0xf5, 0xfa, 0xff}}, // one point is enough
	{1e-3, color.NRGBA{0xdc, 0xea, 0xf5, 0xff}},
	{3e-3, color.NRGBA{0xc6, 0xdd, 0xef, 0xff}},
	{1e-2, color.NRGBA{0xaa, 0xcd, 0xe6, 0xff}},
	{3e-2, color.NRGBA{0x88, 0xb9, 0xdb, 0xff}},
	{1e-1, color.NRGBA{0x5f, 0xa1, 0xce, 0xff}},
	{3e-1, color.NRGBA{0x33, 0x88, 0xc0, 0xff}},
	{6e-1, color.NRGBA{0x06, 0x6d, 0xac, 0xff}},
}

// Plot paints a shade over the paler one before it, so each is one path of whole runs of cells: no seams, and few bytes.
func (q *Density) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	most := int64(0)
	for _, row := range q.Counts {
		most = max(most, slices.Max(row))
	}
	for _, shade := range shades {
		least := max(1, int64(math.Ceil(shade.part*float64(most))))
		var path vg.Path
		for i, row := range q.Counts {
			low := y(q.edge(q.Window.MinY, q.Window.MaxY, i, len(q.Counts)))
			high := y(q.edge(q.Window.MinY, q.Window.MaxY, i+1, len(q.Counts)))
			for from := 0; from < len(row); from++ {
				to := from
				for to < len(row) && row[to] >= least {
					to++
				}
				if to == from {
					continue
				}
				left, right := x(q.edge(q.Window.MinX, q.Window.MaxX, from, len(row))), x(q.edge(q.Window.MinX, q.Window.MaxX, to, len(row)))
				path.Move(vg.Point{X: left, Y: low})
				path.Line(vg.Point{X: right, Y: low})
				path.Line(vg.Point{X: right, Y: high})
				path.Line(vg.Point{X: left, Y: high})
				path.Close()
				from = to
			}
		}
		if len(path) > 0 {
			c.SetColor(shade.color)
			c.Fill(path)
		}
	}
}

// edge is where cell i of n begins.
func (q *Density) edge(from, to float64, i, n int) float64 {
	return from + (to-from)*float64(i)/float64(n)
}

// DataRange is the window.
func (q *Density) DataRange() (xmin, xmax, ymin, ymax float64) {
	return q.Window.MinX, q.Window.MaxX, q.Window.MinY, q.Window.MaxY
}
