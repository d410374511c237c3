package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dither-ml/dither/trainer/ols"
)

// olsFlags is what the command line says about the linear-regression study.
type olsFlags struct {
	sigma2, sigma, refresh, out string
	samples, dim, batch         int
	threads, thin               int
	eta                         float64
	iterations                  int64
	seed                        uint64
	replacement                 bool
	keepPaths, figures, force   bool
	set                         *pflag.FlagSet
}

func (f *olsFlags) define(s *pflag.FlagSet) {
	f.set = s
	s.StringVar(&f.sigma2, "sigma2", "0.5", "variances of the label noise, a panel each: 0.25,0.5")
	s.StringVar(&f.sigma, "sigma", "20", "covariance of x: 20 (that times I), 10,100 (diagonal) or 1,0.5;0.5,2 (rows)")
	s.IntVar(&f.samples, "samples", 100, "N, samples that are drawn")
	s.IntVar(&f.dim, "dim", 2, "d, their coordinates; what --sigma has where it is a matrix")
	s.IntVar(&f.batch, "batch", 5, "B, samples of an iteration")
	s.Float64Var(&f.eta, "eta", 0.01, "learning rate")
	s.Int64Var(&f.iterations, "iterations", 1_000_000, "K of every chain")
	s.BoolVar(&f.replacement, "replacement", false, "draw batches with replacement")
	s.StringVar(&f.refresh, "refresh", ols.Once, "the labels are noised once, as in the paper, or anew at every iteration")
	s.Uint64Var(&f.seed, "seed", 1, "every draw is a function of it")
	s.IntVar(&f.threads, "threads", 0, "chains that run at one time; 0: one for each processor")
	s.IntVar(&f.thin, "thin", 1, "keep every so-manieth iterate only (the moments are over all)")
	s.BoolVar(&f.keepPaths, "keep-paths", true, "keep the iterates: they make the figure, and tell of tails; without them memory does not grow with K")
	s.BoolVar(&f.force, "force", false, "run what is unstable, and show how it blows up")
	s.BoolVar(&f.figures, "figures", true, "draw the figure and write the folder; --figures=false prints only")
	s.StringVar(&f.out, "out", "", "the folder; default runs/ols-TIME; must not exist")
}

// ownFlags are those with which somebody chooses a setting in place of the paper's.
var ownFlags = []string{"sigma2", "sigma", "samples", "dim", "batch", "eta"}

// own says whether the settings are not those of Figure 1.
func (f *olsFlags) own() bool {
	for _, name := range ownFlags {
		if f.set.Changed(name) {
			return true
		}
	}
	return false
}

// settings are the chains: of each panel the noisy one, then its noiseless twin.
func (f *olsFlags) settings() ([]ols.Setting, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var all []ols.Setting
	if f.own() {
		sigma, err := f.covariance()
		if err != nil {
			return nil, err
		}
		variances, err := parseNumbers("sigma2", f.sigma2)
		if err != nil {
			return nil, err
		}
		for i, v := range variances {
			s := ols.Setting{Sigma: sigma, Sigma2: v, N: f.samples, Batch: f.batch, Eta: f.eta, Seed: f.seed, Stream: uint32(2 * i)}
			twin := s
			twin.Sigma2, twin.Stream = 0, s.Stream+1
			all = append(all, s, twin)
		}
	} else {
		all = ols.Figure1(f.seed)
	}
	for i := range all {
		all[i].Replacement, all[i].Refresh = f.replacement, f.refresh
		if err := all[i].Check(); errors.Is(err, ols.ErrSigma) {
			return nil, badInputf("--sigma %s: %w", f.sigma, err)
		} else if err != nil {
			return nil, badInput(err)
		}
	}
	return all, nil
}

// check refuses numbers that no setting holds.
func (f *olsFlags) check() error {
	switch {
	case f.iterations < 1:
		return badInputf("--iterations %d: a chain has at least one iteration", f.iterations)
	case f.iterations > 1<<47:
		return badInputf("--iterations %d: a chain counts to 2^47, or %d", f.iterations, int64(1)<<47)
	case f.thin < 1:
		return badInputf("--thin %d: keep every iterate (1), or every so-manieth", f.thin)
	case int64(f.thin) > f.iterations:
		return badInputf("--thin %d: of %d iterations none would be kept; give less, or --keep-paths=false", f.thin, f.iterations)
	case f.thin > 1 && !f.keepPaths:
		return badInputf("--thin %d and --keep-paths=false: either some iterates are kept, or none; say one of them", f.thin)
	case f.threads < 0:
		return badInputf("--threads %d: give 1 or more, or 0 for one for each processor", f.threads)
	case f.set.Changed("out") && !f.figures:
		return badInputf("--out %s and --figures=false: without figures no folder is written; leave one of them out", f.out)
	}
	return nil
}

// covariance reads --sigma, with --dim where it is a multiple of I.
func (f *olsFlags) covariance() ([][]float64, error) {
	var rows [][]float64
	for row := range strings.SplitSeq(f.sigma, ";") {
		values, err := parseNumbers("sigma", row)
		if err != nil {
			return nil, err
		}
		rows = append(rows, values)
	}
	if f.dim < 1 {
		return nil, badInputf("--dim %d: a sample has at least one coordinate", f.dim)
	}
	d := f.dim
	if len(rows) > 1 || len(rows[0]) > 1 {
		d = max(len(rows), len(rows[0]))
		if f.set.Changed("dim") && f.dim != d {
			return nil, badInputf("--sigma %s is for %d coordinates and --dim %d for %d; give one of them, or both alike", f.sigma, d, f.dim, f.dim)
		}
	}
	if len(rows) == 1 {
		diagonal := rows[0]
		rows = make([][]float64, d)
		for i := range rows {
			rows[i] = make([]float64, d)
			rows[i][i] = diagonal[min(i, len(diagonal)-1)]
		}
	}
	return rows, nil
}

// parseNumbers reads numbers between commas.
func parseNumbers(flag, text string) (out []float64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			example := "0.25,0.5"
			if flag == "sigma" {
				example = "20 (that times I), 10,100 (diagonal) or 1,0.5;0.5,2 (rows)"
			}
			return nil, badInputf("--%s: %q is no finite number; write for example %s", flag, part, example)
		}
		out = append(out, v)
	}
	return out, nil
}

// sigmaName is a covariance as people write it: "20 I", "diag(10,100)", or rows.
func sigmaName(sigma [][]float64) string {
	diagonal, multiple := true, true
	for i, row := range sigma {
		for j, v := range row {
			diagonal = diagonal && (i == j || v == 0)
			multiple = multiple && (i != j || v == sigma[0][0])
		}
	}
	list := func(v []float64) string {
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = strconv.FormatFloat(x, 'g', 6, 64)
		}
		return strings.Join(parts, ", ")
	}
	if diagonal && multiple {
		return fmt.Sprintf("%g I", sigma[0][0])
	}
	rows := make([]string, len(sigma))
	on := make([]float64, len(sigma))
	for i, row := range sigma {
		rows[i], on[i] = list(row), row[i]
	}
	if diagonal {
		return "diag(" + strings.ReplaceAll(list(on), ", ", ",") + ")"
	}
	return "[" + strings.Join(rows, "; ") + "]"
}

// letter names panel i: a to z, then aa, ab, ...
func letter(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return letter(i/26-1) + letter(i%26)
}
