package ols

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestFigure1Settings(t *testing.T) {
	settings := Figure1(11)
	if len(settings) != 16 {
		t.Fatalf("there are %d settings", len(settings))
	}
	data := drawn(t, settings)
	for i := 0; i < 16; i += 2 {
		noisy, twin := settings[i], settings[i+1]
		if noisy.Stream == twin.Stream || twin.Sigma2 != 0 || noisy.Sigma2 == 0 {
			t.Errorf("settings %d and %d are no panel and twin: %+v, %+v", i, i+1, noisy, twin)
		}
		for j, x := range data[i].X {
			for c := range x {
				if data[i+1].X[j][c] != x[c] {
					t.Fatalf("panel %d and its twin have different samples", i/2)
				}
				// One seed, one set of normals: the panels' samples differ by the root of Sigma alone.
				near(t, "a sample", x[c]/math.Sqrt(noisy.Sigma[c][c]), data[0].X[j][c]/math.Sqrt(20), 1e-14)
			}
			if y := data[i+1].Y[j]; y != x[0]+x[1] {
				t.Fatalf("a label without noise is %v, want %v", y, x[0]+x[1])
			}
			z := (data[0].Y[j] - data[1].Y[j]) / math.Sqrt(0.25)
			near(t, "label noise", (data[i].Y[j]-data[i+1].Y[j])/math.Sqrt(noisy.Sigma2), z, 1e-12)
		}
	}
	other := drawn(t, Figure1(12))
	if other[0].X[0][0] == data[0].X[0][0] || other[0].Y[0]-other[1].Y[0] == data[0].Y[0]-data[1].Y[0] {
		t.Error("another seed draws the same")
	}
}

// Many samples have the covariance that was asked for, and labels their noise: the spread of a sample covariance is sqrt((S_ii S_jj + S_ij^2)/N).
func TestDrawHasTheCovariance(t *testing.T) {
	s := Setting{Sigma: [][]float64{{4, -1.5, 0.3}, {-1.5, 2, 0.5}, {0.3, 0.5, 1}}, Sigma2: 3, N: 40_000, Batch: 1, Eta: 0.1, Refresh: Once, Seed: 5}
	data := drawn(t, []Setting{s})[0]
	n := float64(s.N)
	for a := range 3 {
		for b := range 3 {
			sum := 0.0
			for _, x := range data.X {
				sum += x[a] * x[b] / n
			}
			spread := math.Sqrt((s.Sigma[a][a]*s.Sigma[b][b] + s.Sigma[a][b]*s.Sigma[a][b]) / n)
			if math.Abs(sum-s.Sigma[a][b]) > 4*spread {
				t.Errorf("E x_%d x_%d is %v, want %v within %v", a, b, sum, s.Sigma[a][b], 4*spread)
			}
		}
	}
	sum := 0.0
	for i, x := range data.X {
		e := data.Y[i] - x[0] - x[1] - x[2]
		sum += e * e / n
	}
	if math.Abs(sum-3) > 4*3*math.Sqrt(2/n) {
		t.Errorf("the label noise has variance %v", sum)
	}
	s.Refresh = Iteration
	for i, x := range drawn(t, []Setting{s})[0].X {
		if y := data.Y[i]; i < 5 && y == x[0]+x[1]+x[2] {
			t.Errorf("sample %d has no noise", i)
		}
	}
}

// Batches are sets of the right size, and each sample is in as many as any other; so is each pair.
func TestBatchesAreUniform(t *testing.T) {
	for _, replacement := range []bool{false, true} {
		s := Setting{Sigma: identity(1, 1), N: 6, Batch: 3, Replacement: replacement, Refresh: Once, Eta: 1, Seed: 4, Stream: 8}
		const batches = 60_000
		var pairs [6][6]float64
		for k := int64(1); k <= batches; k++ {
			var times [6]float64
			for _, i := range s.BatchAt(k) {
				times[i]++
			}
			for i, m := range times {
				if !replacement && m > 1 {
					t.Fatalf("batch %d has sample %d %v times", k, i, m)
				}
				for j, n := range times {
					pairs[i][j] += m * n / batches
				}
			}
		}
		// E m_i m_j: B(B-1)/N^2 with replacement, and B/N more on the diagonal; without, B(B-1)/(N(N-1)), and B/N on it.
		same, other := 0.5, 6.0/30
		if replacement {
			same, other = 0.5+6.0/36, 6.0/36
		}
		for i := range pairs {
			for j, got := range pairs[i] {
				want := other
				if i == j {
					want = same
				}
				if math.Abs(got-want) > 5/math.Sqrt(batches) {
					t.Errorf("replacement %v: E m_%d m_%d is %v, want %v", replacement, i, j, got, want)
				}
			}
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	good := tiny(false, Once)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(s *Setting)
		want   string
		sigma  bool
	}{
		{func(s *Setting) { s.Sigma = nil }, "no rows", true},
		{func(s *Setting) { s.Sigma = [][]float64{{1, 0}, {0}} }, "2 rows, but row 2 has 1 numbers", true},
		{func(s *Setting) { s.Sigma = [][]float64{{1, 0.5}, {0.4, 1}} }, "not symmetric, 0.4 at (2, 1) and 0.5 at (1, 2)", true},
		{func(s *Setting) { s.Sigma = [][]float64{{1, 2}, {2, 1}} }, "not positive definite, the pivot of row 2 is -3", true},
		{func(s *Setting) { s.Sigma = [][]float64{{1, 1}, {1, 1}} }, "not positive definite", true},
		{func(s *Setting) { s.Sigma = [][]float64{{0, 0}, {0, 1}} }, "the pivot of row 1 is 0", true},
		{func(s *Setting) { s.Sigma = [][]float64{{math.NaN(), 0}, {0, 1}} }, "row 1 has NaN", true},
		{func(s *Setting) { s.Sigma2 = -1 }, "sigma2 = -1", false},
		{func(s *Setting) { s.Sigma2 = math.Inf(1) }, "sigma2 = +Inf", false},
		{func(s *Setting) { s.Eta = 0 }, "eta = 0", false},
		{func(s *Setting) { s.Eta = math.NaN() }, "eta = NaN", false},
		{func(s *Setting) { s.N = 0 }, "N = 0", false},
		{func(s *Setting) { s.Batch = 0 }, "B = 0", false},
		{func(s *Setting) { s.Batch = 7 }, "B = 7 cannot be drawn from N = 6", false},
		{func(s *Setting) { s.Refresh = "often" }, `refresh is "often"`, false},
		{func(s *Setting) { s.Refresh, s.Replacement, s.Batch = Iteration, true, 1<<18+1 }, "B = 262145 is too large", false},
		{func(s *Setting) { s.Eta, s.Sigma2 = -1, -2 }, "eta = -1", false},
	} {
		s := good
		c.change(&s)
		err := s.Check()
		if !errors.Is(err, ErrSetting) || errors.Is(err, ErrSigma) != c.sigma || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", s, err, c.want)
		}
		if _, err := s.Draw(); !errors.Is(err, ErrSetting) {
			t.Errorf("%+v was drawn: %v", s, err)
		}
	}
	both := good
	both.Eta, both.Sigma2 = -1, -2
	if text := both.Check().Error(); !strings.Contains(text, "eta = -1") || !strings.Contains(text, "sigma2 = -2") {
		t.Errorf("two faults: %s", text)
	}
	many := good
	many.Replacement, many.Batch = true, 7
	if err := many.Check(); err != nil {
		t.Errorf("a batch larger than N, with replacement: %v", err)
	}
}
