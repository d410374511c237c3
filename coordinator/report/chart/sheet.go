package chart

import (
	"bytes"
	"fmt"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Picture is a part of a figure, which a page may place as it has room.
type Picture struct {
	Alt string // its text for those who do not see it
	SVG []byte
}

// Sign is an entry of a figure's legend.
type Sign struct {
	Name string
	SVG  []byte
}

// Sheet is a figure of small multiples in the making: rows of panels under one legend.
type Sheet struct {
	Name, Title, Caption string
	Rows                 [][]*Panel
}

// Figure is the sheet, drawn: whole for a file, and in parts for a page.
func (s *Sheet) Figure() (*Figure, error) {
	f := &Figure{Name: s.Name, Title: s.Title, Caption: s.Caption}
	columns, cut := 0, false
	for _, row := range s.Rows {
		columns = max(columns, len(row))
		for _, p := range row {
			svg, err := picture(panelWidth, panelHeight, p.draw)
			if err != nil {
				return nil, fmt.Errorf("drawing %s: %w", s.Name, err)
			}
			f.Parts = append(f.Parts, Picture{p.alt(), svg})
			f.Data = append(f.Data, p.data()...)
			cut = cut || p.cut()
		}
	}
	if cut {
		f.Caption += " An interval without its end leaves the picture; the tables have it."
	}
	signs := s.signs()
	for _, m := range signs {
		svg, err := picture(signWidth, signHeight, m.swatch)
		if err != nil {
			return nil, fmt.Errorf("drawing %s: %w", s.Name, err)
		}
		f.Legend = append(f.Legend, Sign{m.name, svg})
	}

	f.Columns = columns

	const gap = 14
	width := vg.Length(columns)*panelWidth + vg.Length(columns-1)*gap
	lines := wrapped(signs, width)
	top := vg.Length(len(lines))*legendLine + 6
	height := top + vg.Length(len(s.Rows))*(panelHeight+gap) - gap
	var err error
	f.SVG, err = picture(width, height, func(area draw.Canvas) {
		legend(area, lines)
		for i, row := range s.Rows {
			for j, p := range row {
				low := vg.Point{X: area.Min.X + vg.Length(j)*(panelWidth+gap), Y: area.Max.Y - top - vg.Length(i)*(panelHeight+gap) - panelHeight}
				p.draw(draw.Canvas{Canvas: area.Canvas, Rectangle: vg.Rectangle{Min: low, Max: vg.Point{X: low.X + panelWidth, Y: low.Y + panelHeight}}})
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", s.Name, err)
	}
	return f, nil
}

// signs are the marks of all panels, one of each name.
func (s *Sheet) signs() (out []mark) {
	seen := map[string]bool{}
	for _, row := range s.Rows {
		for _, p := range row {
			for _, m := range p.marks {
				if m.name != "" && !seen[m.name] {
					seen[m.name] = true
					out = append(out, m)
				}
			}
		}
	}
	return out
}

const (
	signWidth  = 24 * vg.Length(1)
	signHeight = 12 * vg.Length(1)
	legendLine = 17 * vg.Length(1)
)

// wrapped are the entries of a legend in lines that are no wider than width.
func wrapped(signs []mark, width vg.Length) (lines [][]mark) {
	style := newPlot("", "").X.Tick.Label
	x := width
	for _, m := range signs {
		w := signWidth + 4 + style.Width(m.name) + 14
		if x+w > width {
			lines, x = append(lines, nil), 4
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], m)
		x += w
	}
	return lines
}

// legend is drawn at the top of area.
func legend(area draw.Canvas, lines [][]mark) {
	style := newPlot("", "").X.Tick.Label
	style.XAlign, style.YAlign, style.Color = draw.XLeft, draw.YCenter, Ink
	y := area.Max.Y - legendLine/2
	for _, line := range lines {
		x := area.Min.X + 4
		for _, m := range line {
			m.swatch(draw.Canvas{Canvas: area.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x, Y: y - signHeight/2}, Max: vg.Point{X: x + signWidth, Y: y + signHeight/2}}})
			x += signWidth + 4
			area.FillText(style, vg.Point{X: x, Y: y}, m.name)
			x += style.Width(m.name) + 14
		}
		y -= legendLine
	}
}

// picture is an SVG of a size, drawn by a function.
func picture(width, height vg.Length, paint func(draw.Canvas)) ([]byte, error) {
	canvas := vgsvg.New(width, height)
	paint(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(b.String(), liberation, liberation+",Arial,Helvetica,sans-serif")), nil
}

// liberation is the font that text is measured by; Arial has the same measures, and takes its place where it is not installed.
const liberation = "font-family:Liberation Sans"
