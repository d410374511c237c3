package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// wandering is a study of so many panels whose iterates are drawn from the law that is said to be exact: correlated normals around (1, 1.02).
func wandering(panels, n int) *Regression {
	r := &Regression{Name: "Figure 1", Command: []string{"dither", "ols", "--seed", "7"}, Version: "test", Seed: 7, Samples: 100, Dimension: 2, Batch: 5, Eta: 0.01, Sampling: "without replacement", Refresh: "once",
		Iterations: int64(n), Thin: 1, Seconds: 1.5, Limit: 0.02}
	g := rand.New(rand.NewPCG(1, 2))
	for i := range panels {
		a, b := 0.02*float64(i+1), 0.01
		exact := [][]float64{{a * a, a * b}, {a * b, 2 * b * b}}
		p := RegressionPanel{Letter: string(rune('a' + i)), Sigma2: 0.5, Sigma: "20 I", BetaStar: []float64{1, 1}, LeastSquares: []float64{1, 1.02}, Mean: []float64{1.0001, 1.0199}, Exact: exact, Empirical: exact,
			Paper: [][]float64{{a * a / 2, 0}, {0, b * b}}, Apart: 0.5, Factors: &Factors{1.1, 0.9, 0.96, 1.05, 1.2}, Radius2: 0.7, Radius4: 0.5, Mixing: 5, N: int64(n),
			Claims: []Claim{{"mean", "shown", 1e-4, 0, 2e-4, int64(n), 0.7}, {"covariance", "not shown", 0.015, 0, 0.03, int64(n), 1}}}
		path := make([]float64, 2*n)
		for k := range n {
			u, v := g.NormFloat64(), g.NormFloat64()
			path[2*k], path[2*k+1] = 1+a*u, 1.02+b*u+b*v
		}
		twin := make([]float64, 0, 400)
		for k, x := 0, 0.0; k < 200; k++ {
			x += (1 - x) * 0.2
			twin = append(twin, x, x+0.1*(1-x))
		}
		p.Cloud = NewCloud(&p, path, twin, 2)
		r.Panels = append(r.Panels, p)
	}
	return r
}

func TestRegression(t *testing.T) {
	dir := t.TempDir()
	r := wandering(8, 20_000)
	r.Panels[7].Claims[1] = Claim{"covariance", "no fourth moment", 0.2, math.NaN(), math.NaN(), 20_000, math.NaN()}
	r.Panels[7].Tail = &Tail{Exact: 3.1, Index: 3.2, Low: 2.9, High: 3.5, Median: []Quantile{{0.5, 1.001, 0.99, 1.01, 1}}, Distances: []Quantile{{0.95, 2.7, 2.6, 2.8, 2.448}}, N: 1234}
	path, err := r.Write(dir)
	must(t, err)
	text, err := os.ReadFile(path)
	must(t, err)
	page := string(text)
	holds(t, page, "Figure 1: the linear-regression study of dither", "mean within 2 %: shown in 8; covariance within 2 %: shown in 0, not shown in 7, no fourth moment in 1", "dither ols --seed 7", "<h3>Panel h</h3>", "minus 3.1, by the theory; estimated (Hill): 3.2 (95\u00a0% interval 2.9 to 3.5)", "<td>2.700</td><td>2.600 to 2.800</td><td>2.448</td>", "n = 1,234", "Eq. 20 puts the covariance at", ">1.089<",
		"over N = 100 samples of 2 coordinates", "with learning rate 0.01 and batches of 5 without replacement", "20,000 iterations a chain")
	if n := strings.Count(page, `role="img" aria-label="Panel `); n != 8 {
		t.Errorf("%d pictures with a text", n)
	}
	for _, not := range []string{"<script", "src=", "url(", "NaN", "ZgotmplZ", "%!"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	figure := filepath.Join(dir, "figures", "figure1.svg")
	checkSVG(t, figure)
	if s, err := os.Stat(figure); err != nil || s.Size() > 1_500_000 {
		t.Errorf("the figure has %d bytes, %v", s.Size(), err)
	}
}

// TestRegressionNumbers: what is in the figure is in its files, and is right.
func TestRegressionNumbers(t *testing.T) {
	dir := t.TempDir()
	r := wandering(2, 20_000)
	_, err := r.Write(dir)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "figures", "figure1.json"))
	must(t, err)
	var all struct {
		Panels []struct {
			Panel    string
			Ellipses []ellipse
			Density  struct {
				N      int64
				Counts [][]int64
			}
			Noiseless [][2]float64
		}
	}
	must(t, json.Unmarshal(b, &all))
	if len(all.Panels) != 2 {
		t.Fatalf("%d panels", len(all.Panels))
	}
	counts := map[string]int64{}
	for _, p := range all.Panels {
		for _, row := range p.Density.Counts {
			for _, n := range row {
				counts[p.Panel] += n
			}
		}
		if share := float64(counts[p.Panel]) / float64(p.Density.N); share < 0.998 || p.Density.N != 20_000 {
			t.Errorf("panel %s shows %v of %d iterates", p.Panel, share, p.Density.N)
		}
		// The law is Gaussian with the exact covariance: of 20,000 draws the ellipse holds 95 % within four standard errors of 0.15 %.
		if e := p.Ellipses[0]; e.Name != "exact 95 % ellipse" || math.Abs(*e.Inside-0.95) > 0.0062 {
			t.Errorf("panel %s: the %s holds %v", p.Panel, e.Name, *e.Inside)
		}
		if e := p.Ellipses[1]; *e.Inside > 0.9 {
			t.Errorf("panel %s: the %s, which is too small, holds %v", p.Panel, e.Name, *e.Inside)
		}
		last := p.Noiseless[len(p.Noiseless)-1]
		if math.Hypot(last[0]-1, last[1]-1) > 1e-3 {
			t.Errorf("panel %s: the twin ends at %v", p.Panel, last)
		}
	}
	b, err = os.ReadFile(filepath.Join(dir, "figures", "figure1.csv"))
	must(t, err)
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	must(t, err)
	for _, row := range rows[1:] {
		switch row[1] {
		case "density":
			n, err := strconv.ParseInt(row[4], 10, 64)
			must(t, err)
			counts[row[0]] -= n
		case "exact 95 % ellipse":
			x, errX := strconv.ParseFloat(row[2], 64)
			y, errY := strconv.ParseFloat(row[3], 64)
			must(t, errX, errY)
			m := r.Panels[row[0][0]-'a'].Exact
			det := m[0][0]*m[1][1] - m[0][1]*m[1][0]
			u, v := x-1, y-1.02
			if q := (m[1][1]*u*u - 2*m[0][1]*u*v + m[0][0]*v*v) / det; math.Abs(q-5.991464547107979) > 1e-9 {
				t.Fatalf("a point of the ellipse is at %v", q)
			}
		}
	}
	if counts["a"] != 0 || counts["b"] != 0 {
		t.Errorf("csv and json differ by %v points", counts)
	}
}

// TestBlowup: a chain that diverges has a figure of its own kind, and no number that JSON cannot hold.
func TestBlowup(t *testing.T) {
	r := wandering(2, 1000)
	p := &r.Panels[1]
	p.Diverged, p.Mean, p.Empirical, p.Exact, p.Apart = true, nil, nil, nil, math.NaN()
	p.Claims = []Claim{{"mean", "diverged", math.NaN(), math.NaN(), math.NaN(), 0, math.NaN()}}
	path := make([]float64, 2*900)
	for k := range 900 {
		path[2*k], path[2*k+1] = math.Pow(2, float64(2*k)), math.NaN()
		if k < 600 {
			path[2*k+1] = 1
		}
	}
	p.Cloud = NewBlowup(p, path, 2, 10)
	if n := len(p.Cloud.Distances); n == 0 || p.Cloud.Distances[n-1].Y > 308 {
		t.Fatalf("%v", p.Cloud.Distances)
	}
	dir := t.TempDir()
	page, err := r.Write(dir)
	must(t, err)
	text, err := os.ReadFile(page)
	must(t, err)
	holds(t, string(text), "Panel b: the chain diverges", "<td data-name=\"mean\">diverged</td>", "diverged in 1")
	checkSVG(t, filepath.Join(dir, "figures", "figure1.svg"))
	if p.Cloud = NewBlowup(p, []float64{math.NaN(), 1}, 2, 1); p.Cloud != nil {
		t.Error("a figure of no number")
	}
	r.Panels = r.Panels[1:]
	page, err = r.Write(filepath.Join(dir))
	must(t, err)
	text, err = os.ReadFile(page)
	must(t, err)
	holds(t, string(text), "No path was kept, so there is no figure.")
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 10_000_000_000: "10,000,000,000", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, not %s", n, got, want)
		}
	}
	for got, want := range map[string]string{
		vector([]float64{1, -2, 3, 4, 5}, 3):                                        "1, −2, 3, …",
		matrix([][]float64{{0.001, 2}, {-0.0002, 0.0123}}):                          "(0.100; −0.020, 1.230)\u00a0×\u00a010⁻²",
		matrix([][]float64{{1, 2, 3, 4}, {2, 5, 6, 7}, {3, 6, 8, 9}, {4, 7, 9, 2}}): "1.000; 2.000, 5.000; …",
		matrix([][]float64{{0}}):                                                    "0.000",
		matrix(nil):                                                                 none,
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
