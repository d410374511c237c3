package main

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
	"gonum.org/v1/gonum/mat"
)

// olsRead is what a reader of the JSON that knows nothing else may rely on.
type olsRead struct {
	Seconds *float64
	Panels  []map[string]json.RawMessage
}

func readPanels(ts *testscript.TestScript, file string) (r olsRead) {
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &r))
	return r
}

// cmdPanels wants a file of `dither ols` to hold so many panels with all that was promised, and least squares to be that of X and y: panels FILE N ITERATIONS
func cmdPanels(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: panels FILE N ITERATIONS")
	}
	r := readPanels(ts, args[0])
	if strconv.Itoa(len(r.Panels)) != args[1] || r.Seconds == nil || *r.Seconds <= 0 {
		ts.Fatalf("%d panels in %v seconds", len(r.Panels), r.Seconds)
	}
	for i, p := range r.Panels {
		for _, key := range []string{"sigma2", "Sigma", "eta", "batch", "replacement", "X", "y", "least_squares", "mean", "covariance", "exact_covariance", "paper_covariance", "radius2", "radius4", "n"} {
			if text, there := p[key]; !there || string(text) == "null" {
				ts.Fatalf("panel %d has no %s", i, key)
			}
		}
		var sigma2, eta float64
		var x, paper [][]float64
		var y, solution []float64
		var batch, n, burn int64
		for key, into := range map[string]any{"sigma2": &sigma2, "eta": &eta, "batch": &batch, "X": &x, "y": &y, "least_squares": &solution, "paper_covariance": &paper, "n": &n, "burn": &burn} {
			ts.Check(json.Unmarshal(p[key], into))
		}
		d := len(solution)
		a, b := mat.NewSymDense(d, nil), mat.NewVecDense(d, nil)
		for k, row := range x {
			v := mat.NewVecDense(d, row)
			a.SymRankOne(a, 1, v)
			b.AddScaledVec(b, y[k], v)
		}
		var root mat.Cholesky
		var want mat.VecDense
		if len(x) != len(y) || !root.Factorize(a) || root.SolveVecTo(&want, b) != nil {
			ts.Fatalf("panel %d: X is %d x %d, y %d", i, len(x), d, len(y))
		}
		for j, v := range solution {
			if math.Abs(v-want.AtVec(j)) > 1e-10 {
				ts.Fatalf("panel %d: least squares %v, not %v", i, solution, want.RawVector().Data)
			}
		}
		if math.Abs(paper[0][0]-eta*sigma2/(2*float64(batch))) > 1e-15 {
			ts.Fatalf("panel %d: Eq. 20 gives %v", i, paper)
		}
		if strconv.FormatInt(n+burn, 10) != args[2] {
			ts.Fatalf("panel %d: %d iterates after %d are not %s iterations", i, n, burn, args[2])
		}
	}
}

// cmdSamePanels wants two files of `dither ols` to hold the same chains, bit by bit: samepanels FILE FILE
func cmdSamePanels(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: samepanels FILE FILE")
	}
	one, two := readPanels(ts, args[0]), readPanels(ts, args[1])
	if len(one.Panels) == 0 || len(one.Panels) != len(two.Panels) {
		ts.Fatalf("%d and %d panels", len(one.Panels), len(two.Panels))
	}
	for i, p := range one.Panels {
		for _, key := range []string{"X", "y", "mean", "covariance", "exact_covariance", "noiseless"} {
			if !reflect.DeepEqual(p[key], two.Panels[i][key]) {
				ts.Fatalf("panel %d differs in %s", i, key)
			}
		}
	}
}
