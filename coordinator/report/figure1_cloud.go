package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/plotter"

	"github.com/dither-ml/dither/coordinator/report/chart"
)

// Cloud is what is drawn of a panel's chains, in the plane of the first two coordinates.
type Cloud struct {
	Density     *chart.Density
	Twin        plotter.XYs // the noiseless twin's iterates that lie in the window, in their order
	InsideExact float64     // fraction of the iterates inside the exact 95 % ellipse
	InsidePaper float64     // inside that of the paper's approximation, around beta*
	Distances   plotter.XYs // of a chain that diverges, in place of the others: log10 of the distance from the least-squares solution by iteration
}

const (
	cells      = 60      // of a side of the grid
	mass       = 0.999   // of the iterates that a panel shows
	sampled    = 100_000 // iterates by which the window is chosen
	twinPoints = 400     // that are drawn at most
)

// NewCloud makes what is drawn of p from a kept path ([n][d], without what came before the burn-in) and that of its noiseless twin (from its start; nil: none).
func NewCloud(p *RegressionPanel, path, twin []float64, d int) *Cloud {
	x, y := p.LeastSquares[0], p.LeastSquares[1]
	var spread []float64
	stride := d * max(1, len(path)/d/sampled)
	for i := 0; i+d <= len(path); i += stride {
		if r := math.Max(math.Abs(path[i]-x), math.Abs(path[i+1]-y)); !math.IsNaN(r) && !math.IsInf(r, 0) {
			spread = append(spread, r)
		}
	}
	half := math.Max(math.Abs(p.BetaStar[0]-x), math.Abs(p.BetaStar[1]-y))
	away := half // of the centre of the paper's ellipse
	if len(spread) > 0 {
		slices.Sort(spread)
		half = math.Max(half, spread[int(mass*float64(len(spread)-1))])
	}
	if m := p.Exact; m != nil {
		half = math.Max(half, math.Sqrt(coverage*math.Max(m[0][0], m[1][1])))
	}
	if m := p.Paper; m != nil {
		half = math.Max(half, away+math.Sqrt(coverage*math.Max(m[0][0], m[1][1])))
	}
	if half == 0 {
		half = 1e-3 // a chain that stays where it is: any window shows it
	}
	w := chart.Around(x, y, 1.06*half)
	c := &Cloud{Density: chart.NewDensity(path, d, w, cells)}
	c.InsideExact, c.InsidePaper = inside(path, d, x, y, p.Exact), inside(path, d, p.BetaStar[0], p.BetaStar[1], p.Paper)
	for i := 0; i+d <= len(twin) && len(c.Twin) < twinPoints; i += d {
		if at := (plotter.XY{X: twin[i], Y: twin[i+1]}); w.Holds(at.X, at.Y) {
			// It settles at one point: what moves by less than can be seen is drawn once.
			if n := len(c.Twin); n == 0 || math.Hypot(at.X-c.Twin[n-1].X, at.Y-c.Twin[n-1].Y) > half/500 {
				c.Twin = append(c.Twin, at)
			}
		}
	}
	return c
}

// inside is the fraction of the points that lie in the 95 % ellipse of a covariance; NaN without one.
func inside(path []float64, d int, x, y float64, covariance [][]float64) float64 {
	if covariance == nil || len(path) == 0 {
		return math.NaN()
	}
	m := leading(covariance)
	det := m[0][0]*m[1][1] - m[0][1]*m[1][0]
	if !(det > 0) {
		return math.NaN()
	}
	a, b, c := m[1][1]/det, -(m[0][1]+m[1][0])/det, m[0][0]/det
	n := 0
	for i := 0; i+d <= len(path); i += d {
		u, v := path[i]-x, path[i+1]-y
		if a*u*u+b*u*v+c*v*v <= coverage {
			n++
		}
	}
	return float64(n) / float64(len(path)/d)
}

// NewBlowup is the cloud of a chain that diverges: from its kept path ([n][d], every thin-th iterate, from the start).
func NewBlowup(p *RegressionPanel, path []float64, d, thin int) *Cloud {
	c := &Cloud{}
	n := len(path) / d
	stride := max(1, n/500)
	for i := 0; i < n; i += stride {
		sum := 0.0
		for j := range d {
			sum = math.Hypot(sum, path[i*d+j]-p.LeastSquares[j])
		}
		if log := math.Log10(sum); !math.IsNaN(log) && !math.IsInf(log, 0) {
			c.Distances = append(c.Distances, plotter.XY{X: float64((i + 1) * thin), Y: log})
		}
	}
	if c.Distances == nil {
		return nil
	}
	return c
}

// table is figure1.csv: panel, what, x, y, value. A cell of the density is its centre and its count.
func (r *Regression) table() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	w.Write([]string{"panel", "what", "x", "y", "value"})
	for i := range r.Panels {
		p := &r.Panels[i]
		if p.Cloud == nil {
			continue
		}
		point := func(what string, x, y float64) { w.Write([]string{p.Letter, what, number(x), number(y), ""}) }
		curve := func(what string, xys plotter.XYs) {
			for _, at := range xys {
				point(what, at.X, at.Y)
			}
		}
		curve("log10 distance by iteration", p.Cloud.Distances)
		if q := p.Cloud.Density; q != nil {
			for _, at := range []struct {
				what string
				v    []float64
			}{{"beta*", p.BetaStar}, {"least squares", p.LeastSquares}, {"mean", p.Mean}} {
				if at.v != nil {
					point(at.what, at.v[0], at.v[1])
				}
			}
			for _, e := range p.ellipses() {
				curve(e.Name, e.curve)
			}
			curve("noiseless twin", p.Cloud.Twin)
			for row, counts := range q.Counts {
				for column, n := range counts {
					if n > 0 {
						x := q.Window.MinX + (q.Window.MaxX-q.Window.MinX)*(float64(column)+0.5)/float64(len(counts))
						y := q.Window.MinY + (q.Window.MaxY-q.Window.MinY)*(float64(row)+0.5)/float64(len(q.Counts))
						w.Write([]string{p.Letter, "density", number(x), number(y), strconv.FormatInt(n, 10)})
					}
				}
			}
		}
	}
	w.Flush()
	return b.Bytes()
}

// ellipse is one of the figure, by what it is made of.
type ellipse struct {
	Name       string        `json:"name"`
	Centre     [2]float64    `json:"centre"`
	Covariance [2][2]float64 `json:"covariance"`
	Radius2    float64       `json:"radius2"`          // (z - centre)' covariance^-1 (z - centre) on the curve
	Inside     *float64      `json:"inside,omitempty"` // fraction of the iterates
	curve      plotter.XYs
}

func (p *RegressionPanel) ellipses() (out []ellipse) {
	for _, e := range []struct {
		name   string
		centre []float64
		m      [][]float64
		inside float64
	}{{"exact 95 % ellipse", p.LeastSquares, p.Exact, p.Cloud.InsideExact}, {"paper's 95 % ellipse", p.BetaStar, p.Paper, p.Cloud.InsidePaper}} {
		if e.m == nil {
			continue
		}
		centre := [2]float64(e.centre)
		one := ellipse{e.name, centre, leading(e.m), coverage, nil, chart.Ellipse(centre, leading(e.m), coverage)}
		if !math.IsNaN(e.inside) {
			one.Inside = &e.inside
		}
		out = append(out, one)
	}
	return out
}

// numbers is figure1.json: every number in the figure.
func (r *Regression) numbers() ([]byte, error) {
	type panel struct {
		Panel        string         `json:"panel"`
		Sigma2       float64        `json:"sigma2"`
		Sigma        string         `json:"Sigma"`
		BetaStar     []float64      `json:"beta_star"`
		LeastSquares []float64      `json:"least_squares"`
		Mean         []float64      `json:"mean"`
		Ellipses     []ellipse      `json:"ellipses"`
		Density      *chart.Density `json:"density"` // null where the chain diverges
		Twin         [][2]float64   `json:"noiseless"`
		Distances    [][2]float64   `json:"log10_distance_by_iteration,omitempty"`
	}
	pairs := func(xys plotter.XYs) [][2]float64 {
		out := [][2]float64{}
		for _, at := range xys {
			out = append(out, [2]float64{at.X, at.Y})
		}
		return out
	}
	all := []panel{}
	for i := range r.Panels {
		p := &r.Panels[i]
		if p.Cloud == nil {
			continue
		}
		q := panel{p.Letter, p.Sigma2, p.Sigma, p.BetaStar[:2], p.LeastSquares[:2], nil, nil, p.Cloud.Density, pairs(p.Cloud.Twin), pairs(p.Cloud.Distances)}
		if p.Cloud.Density != nil {
			q.Mean, q.Ellipses = p.Mean[:2], p.ellipses()
		}
		all = append(all, q)
	}
	b, err := json.Marshal(struct {
		Seed       uint64  `json:"seed"`
		Iterations int64   `json:"iterations"`
		Panels     []panel `json:"panels"`
	}{r.Seed, r.Iterations, all})
	if err != nil {
		return nil, fmt.Errorf("the figure's numbers: %w", err)
	}
	return append(b, '\n'), nil
}
