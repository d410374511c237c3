package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/runlog"
)

// Regression is the linear-regression study as its figure and its page show it: panels of the paper's Figure 1, or of somebody's own choice. All of it is what others have computed.
type Regression struct {
	Name       string   // of the page
	Command    []string // what to type to have it again, word by word
	Version    string   // of dither
	Seed       uint64
	Samples    int // N
	Dimension  int // d
	Batch      int
	Eta        float64
	Sampling   string // "without replacement" or "with replacement"
	Refresh    string // "once" or "iteration"
	Iterations int64  // of each chain
	Thin       int    // every so-manieth iterate was kept; 0: none
	Seconds    float64
	Limit      float64 // what a claim of agreement allows, a fraction
	Panels     []RegressionPanel
}

// RegressionPanel is one setting, and what is known of it. Vectors are [d], matrices [d][d].
type RegressionPanel struct {
	Letter       string // "a"
	Sigma2       float64
	Sigma        string // "20 I"
	BetaStar     []float64
	LeastSquares []float64 // the stationary mean
	Mean         []float64 // empirical
	Exact        [][]float64
	Empirical    [][]float64 // nil: the chain diverged
	Paper        [][]float64
	Apart        float64  // how far Paper is from Exact: the largest |difference| of an entry over sqrt(C_ii C_jj); NaN where there is no Exact
	Factors      *Factors // nil where there is no Exact, or no variance
	Radius2      float64
	Radius4      float64
	Mixing       float64 // iterations
	N            int64   // iterates of which the moments are
	Diverged     bool
	Claims       []Claim
	Tail         *Tail  // where there is no fourth moment
	Cloud        *Cloud // nil: nothing was kept
}

// Factors are where the paper's approximation and the exact law part. The trace of Exact is that of Paper times Residual, Finite, Shape and Step.
type Factors struct {
	Centre   float64 // the least-squares solution's distance from beta*, in the paper's standard deviations of one coordinate
	Residual float64 // mean square residual over sigma2
	Finite   float64 // of batches without replacement
	Shape    float64 // the noise's covariance is not that of residuals times that of x
	Step     float64 // iterations are steps, and their matrices those of batches
}

// Claim is something that a panel shows, does not show, or contradicts.
type Claim struct {
	What           string  // "mean" or "covariance"
	Verdict        string  // "shown", "not shown", "contradicted", or why nothing can be said
	Apart          float64 // the largest difference, as a fraction
	Low, High      float64 // its interval; NaN: there is none
	N              int64
	StandardErrors float64 // Apart in them; NaN: unknown
}

// Tail is what is said of a law without fourth moments in place of its covariance.
type Tail struct {
	Exact            float64    // tail index by the theory
	Index, Low, High float64    // estimated, with its 95 % interval; NaN where it could not be
	Median           []Quantile // of each coordinate, beside the least-squares solution; nil where no path was kept
	Distances        []Quantile // of the Mahalanobis distance with the exact covariance, beside a Gaussian law's of that covariance; likewise
	N                int64      // iterates of which the quantiles are
}

// Quantile is one, with its 95 % interval, and what it is held beside.
type Quantile struct{ Level, Value, Low, High, Expected float64 }

// Names of what WriteRegression leaves beside report.html.
const regressionFigure = "figure1"

//go:embed regression.html
var regressionText string

var regressionTemplate = skeleton(regressionText)

// Write makes the figure (figures/figure1.svg), every number in it (figure1.csv, figure1.json) and the page in dir, which exists. It gives the page's path.
func (r *Regression) Write(dir string) (path string, err error) {
	whole, single, err := r.figures()
	if err != nil {
		return "", fmt.Errorf("making a report: %w", err)
	}
	files := map[string][]byte{}
	if whole != nil {
		folder := filepath.Join(dir, FiguresFolder)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return "", fmt.Errorf("making a report: %w", err)
		}
		numbers, err := r.numbers()
		if err != nil {
			return "", fmt.Errorf("making a report: %w", err)
		}
		files[filepath.Join(folder, regressionFigure+".svg")] = whole.Titled()
		files[filepath.Join(folder, regressionFigure+".json")] = numbers
		files[filepath.Join(folder, regressionFigure+".csv")] = r.table()
	}
	page, err := r.page(whole, single)
	if err != nil {
		return "", fmt.Errorf("making a report: %w", err)
	}
	path = filepath.Join(dir, PageFile)
	files[path] = page
	for name, b := range files {
		if err := runlog.WriteFile(name, b); err != nil {
			return "", fmt.Errorf("making a report: %w", err)
		}
	}
	return path, nil
}

// page is the HTML, whole. The panels are pictures of their own in it, so that a narrow screen can have them one below the other.
func (r *Regression) page(whole *chart.Figure, single []chart.Figure) ([]byte, error) {
	data := struct {
		*Regression
		Summary, State, Class, Again string
		Caption                      string
		Pictures                     []template.HTML
		Signs                        []swatch
		Rows                         []regressionRow
		Claims                       []claimRow
		Factors                      []factorRow
		Tails                        []tailRow
	}{Regression: r, Again: shell(r.Command), Rows: r.rows(), Claims: r.claims(), Factors: r.factors(), Tails: r.tails()}
	data.Summary, data.State, data.Class = r.summary()
	if whole != nil {
		data.Caption = whole.Caption
		data.Signs = swatches()
	}
	for _, f := range single {
		data.Pictures = append(data.Pictures, inline(f))
	}
	var b bytes.Buffer
	if err := regressionTemplate.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
