package main

import (
	"math"
	"reflect"
	"testing"

	"github.com/spf13/pflag"

	"github.com/dither-ml/dither/trainer/ols"
)

// TestJudge: the interval decides, for every entry.
func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		differences, errors []float64
		segments            int
		want                string
	}{
		"well within":            {[]float64{0.001, -0.002}, []float64{0.001, 0.001}, 32, shown},
		"the interval reaches":   {[]float64{0.001, -0.018}, []float64{0.001, 0.002}, 32, notShown},
		"off, but by chance":     {[]float64{0.03, 0}, []float64{0.01, 0.001}, 32, notShown},
		"one is off":             {[]float64{0.001, -0.05}, []float64{0.001, 0.002}, 32, contradicted},
		"one is off, one is not": {[]float64{0.05, 0.019}, []float64{0.002, 0.01}, 32, contradicted},
		"few segments":           {[]float64{0.012}, []float64{0.002}, 2, notShown},
		"no errors":              {[]float64{0.012}, nil, 0, noInterval},
		"an error that is none":  {[]float64{0.012}, []float64{math.NaN()}, 32, notShown},
	} {
		got := judge("mean", c.differences, c.errors, c.segments, 7, 0.02)
		if got.Verdict != c.want || got.N != 7 {
			t.Errorf("%s: %s, not %s", name, got.Verdict, c.want)
		}
	}
	got := judge("mean", []float64{0.001, -0.01}, []float64{1, 0.004}, 1001, 7, 0.02)
	// 2.2446 is Student's t with 1000 degrees of freedom at 1 - 0.05/4.
	if got.Apart != 0.01 || math.Abs(got.High-(0.01+0.004*2.2446)) > 1e-5 || math.Abs(got.Low-(0.01-0.004*2.2446)) > 1e-5 || got.StandardErrors != 2.5 {
		t.Errorf("%+v", got)
	}
}

func TestClaims(t *testing.T) {
	theory := &ols.Theory{LeastSquares: []float64{1, 2}, Covariance: [][]float64{{4, 1}, {1, 9}}, Radius2: 0.5, Radius4: 0.5}
	path := &ols.Path{K: 1000, Burn: 100, Mean: []float64{1.001, 2.001}, MeanError: []float64{1e-4, 1e-4}, Covariance: [][]float64{{4.01, 1.3}, {1.3, 9}}, CovarianceError: [][]float64{{0.01, 0.01}, {0.01, 0.01}}, Segments: 32}
	verdicts := func() (out []string) {
		for _, c := range olsClaims(theory, path) {
			out = append(out, c.Verdict)
		}
		return out
	}
	// 0.3 over sqrt(4*9) is 5 %, thirty standard errors.
	if got, want := verdicts(), []string{shown, contradicted}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	theory.Radius4 = 1.1
	if got, want := verdicts(), []string{shown, noFourth}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	exact := theory.Covariance
	theory.Covariance = [][]float64{{0, 0}, {0, 0}}
	if got, want := verdicts(), []string{shown, noVariance}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	theory.Covariance = nil
	if got, want := verdicts(), []string{noSecond, noSecond}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	theory.Covariance, path.Diverged = exact, true
	if got, want := verdicts(), []string{blownUp, blownUp}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if got := apartFrom([][]float64{{5, 0}, {0, 9}}, exact); got != 0.25 {
		t.Errorf("apart by %v, not 1/4", got)
	}
}

func TestSigmaFlag(t *testing.T) {
	for _, c := range []struct {
		args []string
		want [][]float64
		name string
	}{
		{[]string{"--sigma=20"}, [][]float64{{20, 0}, {0, 20}}, "20 I"},
		{[]string{"--sigma=2.5", "--dim=3"}, [][]float64{{2.5, 0, 0}, {0, 2.5, 0}, {0, 0, 2.5}}, "2.5 I"},
		{[]string{"--sigma=10, 100"}, [][]float64{{10, 0}, {0, 100}}, "diag(10,100)"},
		{[]string{"--sigma=1,2,3", "--dim=3"}, [][]float64{{1, 0, 0}, {0, 2, 0}, {0, 0, 3}}, "diag(1,2,3)"},
		{[]string{"--sigma=1,0.5;0.5,2"}, [][]float64{{1, 0.5}, {0.5, 2}}, "[1, 0.5; 0.5, 2]"},
		{[]string{"--sigma=7", "--dim=1"}, [][]float64{{7}}, "7 I"},
	} {
		f := &olsFlags{}
		set := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.define(set)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		all, err := f.settings()
		if err != nil || !reflect.DeepEqual(all[0].Sigma, c.want) || len(all) != 2 || all[1].Sigma2 != 0 {
			t.Errorf("%v: %v, %v", c.args, all, err)
		} else if got := sigmaName(all[0].Sigma); got != c.name {
			t.Errorf("%v is called %s", c.args, got)
		}
	}
}

// TestDown: a limit can be typed as it is printed, and holds.
func TestDown(t *testing.T) {
	for v, want := range map[float64]float64{0.0601204: 0.06012, 0.06012: 0.06011, 123.456: 123.4, 1: 0.999, 9.999e-5: 9.998e-5} {
		if got := down(v); math.Abs(got-want) > 1e-9*want || got >= v {
			t.Errorf("%v goes down to %v, not %v", v, got, want)
		}
	}
}

func TestLetter(t *testing.T) {
	for i, want := range map[int]string{0: "a", 25: "z", 26: "aa", 51: "az", 52: "ba"} {
		if got := letter(i); got != want {
			t.Errorf("panel %d is %s, not %s", i, got, want)
		}
	}
}
