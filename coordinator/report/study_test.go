package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// studyWritten is the page of a study in a folder of its own, or in one that a person names to look at it (DITHER_REPORTS).
func studyWritten(t *testing.T, name string, s *study.Summary) (dir, page string) {
	t.Helper()
	parent := os.Getenv("DITHER_REPORTS")
	if parent == "" {
		parent = t.TempDir()
	}
	dir = filepath.Join(parent, name)
	must(t, os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, study.SpecFile), []byte("design: "+s.Spec.Design+"\nseeds: [1, 2, 3]\n"), 0o666))
	path, err := WriteStudy(dir, s, Options{Version: "v0-test"})
	must(t, err)
	b, err := os.ReadFile(path)
	must(t, err)
	return dir, string(b)
}

// TestScales: Figures 2 and 3 of a study in which a run diverged and others are missing.
func TestScales(t *testing.T) {
	s := worldOf(scalesSpec(), func(o *study.Outcome) {
		switch {
		case o.Arm == 12 && o.Seed == 2 && o.Phase == study.Refit:
			o.State, o.Reason = study.Diverged, "the loss of iteration 61, shard 2, is NaN"
		case o.Arm == 11 && o.Seed == 3 && o.Phase == study.Refit:
			o.State, o.Reason = study.Failed, "no space left on the device"
		case o.Arm == 22 && o.Seed == 3:
			o.State = study.Missing
		}
	})
	s.Claims[0].Text = "<b>bold</b> claim"
	dir, page := studyWritten(t, "scales", s)
	figure := numbers(t, dir, "figure2")
	for _, p := range s.Points {
		switch p.Noise {
		case noiseNone:
			has(t, figure, "Gaussian noise: gradient norm/noiseless distillation", line("", p.GradientNorm))
			has(t, figure, "Symmetric noise: validation accuracy/noiseless distillation", line("", p.ValidationAccuracy))
		default:
			panel := capital(noiseName(p.Noise))
			series := "/" + noiseName(p.Noise)
			has(t, figure, panel+": gradient norm"+series, line(same(&p.Scale), p.GradientNorm))
			has(t, figure, panel+": validation accuracy"+series, line(same(&p.Scale), p.ValidationAccuracy))
			has(t, figure, panel+": test accuracy"+series, line(same(&p.Scale), p.TestAccuracy))
		}
	}
	has(t, figure, "Gaussian noise: test accuracy/teacher", ",0.9132,,,1")

	curves := numbers(t, dir, "figure3")
	chosen := s.Choices[1].Arm
	name := "Gaussian noise, chosen scale (" + s.Points[chosen].Name + ")"
	var values []float64
	for _, o := range s.Outcomes {
		if o.Arm == chosen && o.Phase == study.Refit {
			values = append(values, *o.Epochs[6].TestLoss)
		}
	}
	has(t, curves, "test loss (cross-entropy)/"+name, line("7", study.NewEstimate(values)))
	if n := len(curves["training loss (the loss that is minimised)/"+name]); n != 12 {
		t.Errorf("the curve has %d epochs of 12", n)
	}

	checkPage(t, strings.ReplaceAll(page, "is NaN", ""))
	again(t, dir, s)
	holds(t, page, "unfinished: 135 of 138 runs done, of which 1 diverged; 1 failed, and will be tried again", "dither sweep --resume "+dir, "the loss of iteration 61, shard 2, is NaN", "no space left on the device",
		"gaussian sigma2=10: 1 of 6 runs diverged", "3 of 138 runs are not done yet", "&lt;b&gt;bold&lt;/b&gt; claim", "</span> shown</p>", "</span> not shown</p>", "</span> contradicted</p>",
		"<strong>−0.97</strong>, 95\u00a0% interval [−1, −0.91] (n\u00a0=\u00a021)", "bootstrap over seeds, 10,000 draws", "figures/figure2.csv", "design: scales", "v0-test", strings.Repeat("7e", 32), strings.Repeat("ab12", 16),
		s.Outcomes[0].ParametersSHA256, "chosen on the held-out images")
}

func TestBatches(t *testing.T) {
	var arms []*ditherv1.Arm
	for _, b := range []uint32{16, 32, 64, 128, 256} {
		arms = append(arms, arm(noiseNone, 0, b, 0.1), arm("gaussian", 1, b, 0.1), arm("gaussian", 4, b, 0.1))
	}
	s := worldOf(studySpec("batches", arms...), nil)
	dir, page := studyWritten(t, "batches", s)
	figure := numbers(t, dir, "batches")
	for _, p := range s.Points {
		series := noiseName(p.Noise)
		if p.Noise != noiseNone {
			series += fmt.Sprintf(", σ² = %v", p.Scale)
		}
		x := strconv.Itoa(int(p.Batch))
		has(t, figure, "Gradient norm/"+series, line(x, p.GradientNorm))
		has(t, figure, "Training loss/"+series, line(x, p.TrainingLoss))
		var speeds []float64
		for _, o := range s.Outcomes {
			if o.Arm == p.Arm {
				speeds = append(speeds, o.ImagesPerSecond)
			}
		}
		has(t, figure, "Training images a second/"+series, line(x, study.NewEstimate(speeds)))
	}
	checkPage(t, page)
	again(t, dir, s)
	holds(t, page, "finished: 45 of 45 runs done")
	if strings.Contains(page, "--resume") {
		t.Error("a study that is over is to be gone on with")
	}
}

// TestCoincidence: curves are over eta K / (1 - mu), which is the same at the end of every arm.
func TestCoincidence(t *testing.T) {
	for _, design := range []string{"eta-over-b", "label-noise"} {
		var arms []*ditherv1.Arm
		for _, k := range []float64{0.5, 1, 2, 4} {
			if design == "label-noise" {
				a := arm("gaussian", 4/k, 64, 0.1*k)
				a.Stretch = 1 / k
				arms = append(arms, a)
				continue
			}
			for _, kind := range []string{noiseNone, "gaussian"} {
				arms = append(arms, arm(kind, map[string]float64{"gaussian": 2}[kind], uint32(32*k), 0.05*k))
			}
		}
		s := worldOf(studySpec(design, arms...), nil)
		dir, page := studyWritten(t, design, s)
		figure := numbers(t, dir, design)
		for _, p := range s.Points {
			curve := figure["Training loss by progress/"+p.Name]
			if want := int(math.Round(12 * stretch(s.Spec.Arms[p.Arm]))); len(curve) != want {
				t.Fatalf("%s, %s: %d points, not %d", design, p.Name, len(curve), want)
			}
			end, err := strconv.ParseFloat(curve[len(curve)-1][0], 64)
			must(t, err)
			if want := p.LR * float64(p.Iterations) / 0.1; math.Abs(end-want) > 1e-9*want {
				t.Errorf("%s, %s ends at %v, not %v", design, p.Name, end, want)
			}
			x := fmt.Sprintf("B %d\nη %.3g", p.Batch, p.LR)
			if design == "label-noise" {
				x = fmt.Sprintf("η %.3g\nσ² %.3g", p.LR, p.Scale)
			}
			has(t, figure, "Gradient norm at the end/"+p.Name, line(x, p.GradientNorm))
			has(t, figure, "Test accuracy at the end/"+p.Name, line(x, p.TestAccuracy))
		}
		checkPage(t, page)
		again(t, dir, s)
		holds(t, page, "ηK/(1 − μ)", "The chosen Gaussian noise tests better than noiseless distillation: not shown (difference of test accuracy 0.0021, 95 % interval [−0.004, 0.0082], n = 3).")
	}
}

// TestBegun: nothing is done yet, or nothing but what diverged; one seed has no interval.
func TestBegun(t *testing.T) {
	for _, state := range []study.State{study.Missing, study.Partial, study.Diverged} {
		for _, design := range []string{"scales", "batches", "eta-over-b", "label-noise"} {
			spec := studySpec(design, arm(noiseNone, 0, 32, 0.1), arm("gaussian", 1, 64, 0.1))
			s := worldOf(spec, func(o *study.Outcome) { o.State = state })
			s.Teacher, s.Claims = nil, nil
			dir, page := studyWritten(t, fmt.Sprint(design, "-", state), s)
			checkPage(t, page)
			again(t, dir, s)
			holds(t, page, "None yet")
			if strings.Contains(page, "--resume") == (state == study.Diverged) {
				t.Errorf("%s, all %s: going on with it", design, state)
			}
		}
	}
	spec := studySpec("scales", arm(noiseNone, 0, 32, 0.1), arm("gaussian", 1, 32, 0.1))
	spec.Seeds = spec.Seeds[:1]
	s := worldOf(spec, nil)
	dir, page := studyWritten(t, "one-seed", s)
	has(t, numbers(t, dir, "figure2"), "Gaussian noise: gradient norm/Gaussian noise", line("1", s.Points[1].GradientNorm))
	checkPage(t, page)
	holds(t, page, "no interval", "over 1 seed.")
}

// TestNoNumbers: what is no number is null, and is in no picture.
func TestNoNumbers(t *testing.T) {
	s := worldOf(studySpec("scales", arm(noiseNone, 0, 32, 0.1), arm("gaussian", 1, 32, 0.1), arm("gaussian", 2, 32, 0.1)), nil)
	s.Points[1].GradientNorm = &study.Estimate{N: 3, Mean: math.NaN(), Low: pointer(math.NaN()), High: pointer(math.NaN())}
	s.Points[2].TestAccuracy = &study.Estimate{N: 3, Mean: math.Inf(1), Low: pointer(math.Inf(-1)), High: pointer(math.Inf(1))}
	s.Claims[0].Value, s.Claims[1].High = pointer(math.NaN()), pointer(math.Inf(1))
	dir, page := studyWritten(t, "no-numbers", s)
	checkPage(t, page)
	has(t, numbers(t, dir, "figure2"), "Gaussian noise: gradient norm/Gaussian noise", "1,,,,3")
	svg, err := os.ReadFile(filepath.Join(dir, FiguresFolder, "figure2.svg"))
	must(t, err)
	if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
		t.Error("the picture has a number that is none")
	}
}

func TestStability(t *testing.T) {
	s := worldOf(studySpec("batches", arm(noiseNone, 0, 32, 0.1)), nil)
	parent := t.TempDir()
	dir := filepath.Join(parent, "stability")
	must(t, os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, StabilityFile), []byte(`[{"name":"teacher","sha256":"aa","gradient_norm":7900,"images":1000,"draws":5,"split":"test","accuracy_images":200,"accuracy":0.915,"scales":[
		{"sd":4,"change_mean":null,"change_low":null,"change_high":null,"first_order":126400,"accuracy_mean":0,"accuracy_low":0,"accuracy_high":0,"not_finite":5},
		{"sd":0.01,"change_mean":0.99,"change_low":0.9,"change_high":1.1,"first_order":0.79,"accuracy_mean":0.9,"accuracy_low":0.88,"accuracy_high":0.916},
		{"sd":0.001,"change_mean":0.00795,"change_low":0.0075,"change_high":0.0084,"first_order":0.0079,"accuracy_mean":0.912,"accuracy_low":null,"accuracy_high":null}]}]`), 0o666))
	_, err := WriteStudy(dir, s, Options{})
	must(t, err)
	figure := numbers(t, dir, "stability")
	has(t, figure, "Change of the outputs/teacher", "0.0001,0.99,0.9,1.1,5")
	has(t, figure, "Change of the outputs/teacher", "16,,,,5")
	has(t, figure, "Change of the outputs/teacher, first order", "1e-06,0.0079,,,1000")
	has(t, figure, "Test accuracy under perturbation/teacher", "1e-06,0.912,,,5")

	must(t, os.WriteFile(filepath.Join(dir, StabilityFile), []byte(`{"name":"teacher"}`), 0o666))
	if _, err := WriteStudy(dir, s, Options{}); err == nil || !strings.Contains(err.Error(), StabilityFile) {
		t.Errorf("what is no array: %v", err)
	}
}

// TestUnofficial: a page says where its figures are not to be compared with others'.
func TestUnofficial(t *testing.T) {
	s := worldOf(studySpec("batches", arm(noiseNone, 0, 32, 0.1)), nil)
	s.Spec.Base.Dataset.TrainLimit, s.Unmatched = 500, []string{"runs/0123456789abcdef"}
	dir := t.TempDir()
	run := filepath.Join(dir, s.Outcomes[0].Folder)
	must(t, os.MkdirAll(run, 0o777), runlog.WriteResult(run, runlog.Result{Phase: "finished"}))
	path, err := WriteStudy(dir, s, Options{})
	must(t, err)
	page, err := os.ReadFile(path)
	must(t, err)
	holds(t, string(page), "checksums are not the official ones", "the first 500 training images", "1 folder is in runs/ of no run of this study", "runs/0123456789abcdef")
}
