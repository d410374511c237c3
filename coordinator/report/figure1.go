package report

import (
	"fmt"
	"html/template"
	"image/color"
	"math"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dither-ml/dither/coordinator/report/chart"
)

// coverage is the quantile of chi-square with two degrees of freedom that makes an ellipse hold 95 % of a Gaussian law.
const coverage = 5.991464547107979

// How things look in the figure and in its legend.
var (
	dark       = color.NRGBA{0x1f, 0x29, 0x33, 0xff} // seen on any shade
	exactLine  = draw.LineStyle{Color: chart.Orange, Width: 1.6}
	paperLine  = draw.LineStyle{Color: dark, Width: 1.3, Dashes: []vg.Length{4, 3}}
	twinLine   = draw.LineStyle{Color: chart.Green, Width: 0.7}
	twinPoint  = draw.GlyphStyle{Color: chart.Green, Radius: 1.7, Shape: draw.CircleGlyph{}}
	leastCross = draw.GlyphStyle{Color: dark, Radius: 3.6, Shape: draw.CrossGlyph{}}
	starPlus   = draw.GlyphStyle{Color: color.NRGBA{0xcc, 0x00, 0x52, 0xff}, Radius: 4.6, Shape: draw.PlusGlyph{}}
)

var figureKeys = []chart.Key{
	{Name: "iterates, noisy labels", Patch: color.NRGBA{0x5f, 0xa1, 0xce, 0xff}},
	{Name: "noiseless twin", Line: &twinLine, Glyph: &twinPoint},
	{Name: "exact 95 % ellipse", Line: &exactLine},
	{Name: "the paper's (Eq. 20), around beta*", Line: &paperLine},
	{Name: "least squares", Glyph: &leastCross},
	{Name: "beta*", Glyph: &starPlus},
}

// swatch is an entry of the page's legend.
type swatch struct {
	Name string
	SVG  template.HTML
}

// swatches are the legend's entries one by one, so that a narrow page can break the line.
func swatches() (out []swatch) {
	for _, s := range figureKeys {
		out = append(out, swatch{s.Name, template.HTML(chart.Swatch(s))})
	}
	return out
}

// figures are Figure 1 whole, as the paper lays it out, and its panels one by one; nil where nothing was kept to be drawn.
func (r *Regression) figures() (*chart.Figure, []chart.Figure, error) {
	var all []*chart.Plane
	var single []chart.Figure
	for i := range r.Panels {
		p := &r.Panels[i]
		if p.Cloud == nil {
			continue
		}
		// Drawn twice, since drawing settles a panel's axes.
		all = append(all, p.draw())
		f, err := chart.Planes(regressionFigure+p.Letter, p.title(), p.caption(), 1, []*chart.Plane{p.draw()}, nil)
		if err != nil {
			return nil, nil, err
		}
		single = append(single, *f)
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	whole, err := chart.Planes(regressionFigure, "Figure 1", r.caption(), 4, all, figureKeys)
	return whole, single, err
}

func (p *RegressionPanel) title() string {
	return fmt.Sprintf("(%s) sigma2 = %g, Sigma = %s", p.Letter, p.Sigma2, p.Sigma)
}

func (p *RegressionPanel) draw() *chart.Plane {
	c := chart.NewPlane(p.title())
	if p.Cloud.Distances != nil {
		c.Name("iteration", "log10 of the distance")
		c.Curve(p.Cloud.Distances, draw.LineStyle{Color: chart.Orange, Width: 1.4})
		return c
	}
	c.See(p.Cloud.Density.Window)
	c.Add(p.Cloud.Density)
	centre, star := [2]float64(p.LeastSquares), [2]float64(p.BetaStar)
	if len(p.Cloud.Twin) > 0 {
		c.Curve(p.Cloud.Twin, twinLine)
		c.Points(p.Cloud.Twin, twinPoint)
	}
	if p.Exact != nil {
		c.Curve(chart.Ellipse(centre, leading(p.Exact), coverage), exactLine)
	}
	if p.Paper != nil {
		c.Curve(chart.Ellipse(star, leading(p.Paper), coverage), paperLine)
	}
	c.Points(plotter.XYs{{X: centre[0], Y: centre[1]}}, leastCross)
	c.Points(plotter.XYs{{X: star[0], Y: star[1]}}, starPlus)
	return c
}

// leading is the first two coordinates' part of a covariance, which is their marginal.
func leading(m [][]float64) [2][2]float64 {
	return [2][2]float64{{m[0][0], m[0][1]}, {m[1][0], m[1][1]}}
}

// caption says of one panel what is to be seen.
func (p *RegressionPanel) caption() string {
	q := p.Cloud.Density
	if p.Cloud.Distances != nil {
		last := p.Cloud.Distances[len(p.Cloud.Distances)-1]
		return fmt.Sprintf("Panel %s: the chain diverges; its distance from the least-squares solution reaches 10^%.0f at iteration %.0f.", p.Letter, last.Y, last.X)
	}
	text := fmt.Sprintf("Panel %s: %s iterates around the least-squares solution (%.4f, %.4f), between %.3g and %.3g across and %.3g and %.3g up", p.Letter, thousands(q.N),
		p.LeastSquares[0], p.LeastSquares[1], q.Window.MinX, q.Window.MaxX, q.Window.MinY, q.Window.MaxY)
	if p.Exact != nil && !math.IsNaN(p.Cloud.InsideExact) {
		text += fmt.Sprintf("; the exact 95 %% ellipse holds %.1f %% of them", 100*p.Cloud.InsideExact)
		if p.Paper != nil && !math.IsNaN(p.Cloud.InsidePaper) {
			text += fmt.Sprintf(", the paper's %.1f %%", 100*p.Cloud.InsidePaper)
		}
	}
	return text + "."
}

func (r *Regression) caption() string {
	plane := ""
	if r.Dimension > 2 {
		plane = fmt.Sprintf(" Of %d coordinates the first two are drawn.", r.Dimension)
	}
	for i := range r.Panels {
		if c := r.Panels[i].Cloud; c != nil && c.Distances != nil {
			plane += " Of a chain that diverges its distance from the least-squares solution is drawn instead, by iteration."
			break
		}
	}
	return fmt.Sprintf("SGD on a linear regression with noisy labels: shaded, how often %s iterations come to each place (shades in steps of about half a decade); green, the iterates of the noiseless twin on their way to beta*; "+
		"solid, the exact 95 %% ellipse of the stationary covariance around the least-squares solution (cross); dashed, that of the paper's approximation around beta* (plus). Each panel has axes of its own, which hold 99.9 %% of the iterates.%s", thousands(r.Iterations), plane)
}
