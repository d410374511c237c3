package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/ols"
)

func newOLSCommand(a *app) *cobra.Command {
	f := &olsFlags{}
	cmd := &cobra.Command{Use: "ols", Short: "Run the linear-regression study: SGD on noisy labels beside its exact theory", Args: noArgs,
		Long: "Runs the paper's Figure 1, 8 panels and their noiseless twins, and holds each chain to the exact theory of SGD on its samples.\n" +
			"With any of --sigma2, --sigma, --samples, --dim, --batch and --eta it runs that setting, and its twin, instead.",
		Example: "  dither ols --out runs/figure1\n  dither ols --figures=false --json\n  dither ols --sigma2 0.5,2 --sigma '1,0.5;0.5,2' --eta 0.1 --refresh iteration --out runs/mine\n  dither ols --sigma2 1 --iterations 10000000000 --keep-paths=false"}
	f.define(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.ols(cmd.Context(), f) }
	return cmd
}

// ols does what the flags say: draw, theory, run, judge, write, print.
func (a *app) ols(ctx context.Context, f *olsFlags) (err error) {
	settings, err := f.settings()
	if err != nil {
		return err
	}
	dir, err := f.folder()
	if err != nil {
		return err
	}
	s, err := newOLSStudy(settings, f.threads)
	if err != nil {
		return err
	}
	if err := s.refuseUnstable(f.force); err != nil {
		return err
	}
	options := ols.Options{Iterations: f.iterations, Keep: f.keepPaths, Thin: f.thin, Threads: f.threads}
	if err := fits(options, settings); err != nil {
		return err
	}
	if f.threads > 0 {
		a.warnThreads(f.threads)
	}
	if dir != "" {
		// Before the work, so that a folder that cannot be made costs nothing.
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return badInputf("--out: %w", err)
		}
		defer func() {
			if err != nil {
				os.Remove(dir) // only where it is empty
			}
		}()
	}
	if err := s.run(ctx, a, options); err != nil {
		return err
	}
	r := s.result(f)
	if dir != "" {
		r.Folder = dir
		if r.Report, err = s.write(dir, r, f); err != nil {
			return err
		}
	}
	return a.result(r, func(w io.Writer) { r.print(w) })
}

// folder is where the study is written, which must not exist; "" where nothing is.
func (f *olsFlags) folder() (string, error) {
	if !f.figures {
		return "", nil
	}
	dir := f.out
	if dir == "" {
		name := filepath.Join("runs", "ols-"+time.Now().Format("20060102-150405"))
		dir = name
		for n := 2; exists(dir); n++ { // a study may take less than a second
			dir = fmt.Sprintf("%s-%d", name, n)
		}
	}
	if exists(dir) {
		return "", badInputf("the folder %s exists already and a study never writes over another; choose another --out", dir)
	}
	return dir, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// olsStudy is the settings, what was drawn, what is known, and the paths once they are run. Settings 2i and 2i+1 are panel i and its noiseless twin.
type olsStudy struct {
	settings []ols.Setting
	data     []*ols.Data
	theory   []*ols.Theory // of the panels; the twins' radii are theirs
	paths    []ols.Path
	seconds  float64 // of the runs
}

// newOLSStudy draws the samples and computes the theory, panels side by side.
func newOLSStudy(settings []ols.Setting, threads int) (*olsStudy, error) {
	s := &olsStudy{settings: settings, data: make([]*ols.Data, len(settings)), theory: make([]*ols.Theory, len(settings)/2)}
	errs := make([]error, len(settings)/2)
	if threads == 0 {
		threads = len(errs)
	}
	turns := make(chan struct{}, threads)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			for j := 2 * i; j < 2*i+2; j++ {
				if s.data[j], errs[i] = settings[j].Draw(); errs[i] != nil {
					return
				}
			}
			if s.theory[i], errs[i] = settings[2*i].Theory(s.data[2*i]); errs[i] == nil && settings[2*i].Sigma2 == 0 && s.theory[i].Covariance != nil {
				// Without noise every residual is 0, and what is left of them is rounding.
				for _, row := range s.theory[i].Covariance {
					clear(row)
				}
			}
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, badInputf("panel %s (%s): %w", letter(i), s.name(i), err)
		}
	}
	return s, nil
}

// name is panel i in words.
func (s *olsStudy) name(i int) string {
	return fmt.Sprintf("sigma2 = %g, Sigma = %s", s.settings[2*i].Sigma2, sigmaName(s.settings[2*i].Sigma))
}

// refuseUnstable refuses settings whose mean square grows without end, unless that is what is to be seen.
func (s *olsStudy) refuseUnstable(force bool) error {
	limit := math.Inf(1)
	var unstable []string
	for i, t := range s.theory {
		limit = min(limit, t.Limit)
		if !(t.Radius2 < 1) {
			unstable = append(unstable, fmt.Sprintf("panel %s (%s; the radius of its second moments is %.4g, and eta must be below %.4g)", letter(i), s.name(i), t.Radius2, down(t.Limit)))
		}
	}
	if len(unstable) == 0 || force {
		return nil
	}
	return badInputf("eta = %g is beyond the mean-square limit of these samples in %s: the mean square grows without end; say --eta %.4g or less, or --force to see it blow up", s.settings[0].Eta,
		strings.Join(unstable, ", "), down(limit))
}

// down is a limit that may be typed as it is printed: four digits, rounded toward zero, and below the limit itself.
func down(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v))-3)
	return (math.Ceil(v/unit) - 1) * unit
}

// fits refuses paths for which there is no memory, and says what would fit.
func fits(o ols.Options, settings []ols.Setting) error {
	free, known := availableMemory()
	if !known || !o.Keep {
		return nil
	}
	// The paths are not all: figures and results are made from them, and others want to live.
	free -= free / 5
	need := o.Bytes(settings)
	if need >= 0 && need <= free {
		return nil
	}
	thin := o
	for thin.Thin = max(1, o.Thin); ; thin.Thin *= 10 {
		if int64(thin.Thin) > o.Iterations {
			return badInputf("--iterations %d: the paths of %d chains take %s and %s of memory are to be had; say --keep-paths=false, which keeps none of them", o.Iterations, len(settings), gibibytes(need), gibibytes(free))
		}
		if b := thin.Bytes(settings); b >= 0 && b <= free {
			return badInputf("--iterations %d: the paths of %d chains take %s and %s of memory are to be had; say --thin %d, which keeps %s of them, or --keep-paths=false", o.Iterations, len(settings), gibibytes(need),
				gibibytes(free), thin.Thin, gibibytes(b))
		}
	}
}

func gibibytes(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// long is how many iterations of all chains together are worth a progress bar.
const long = 300_000_000

// run takes the chains to their end.
func (s *olsStudy) run(ctx context.Context, a *app, o ols.Options) (err error) {
	if total := o.Iterations * int64(len(s.settings)); total > long {
		p := a.progress("ols", int(total))
		defer p.Done()
		o.Progress = func(done int64) { p.Set(int(done), "") }
	}
	began := time.Now()
	s.paths, err = ols.Run(ctx, s.settings, s.data, o)
	s.seconds = time.Since(began).Seconds()
	if errors.Is(err, ols.ErrOptions) || errors.Is(err, ols.ErrSetting) {
		return badInput(err)
	}
	return err
}
