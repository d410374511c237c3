package ols

import (
	"errors"
	"fmt"
	"math"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// What the layout of the draws has room for (docs/random.md).
const (
	maxIterations = int64(1) << 47 // a block's number has 64 bits, of which noise at each iteration gives 16 to the place in the batch
	maxRefreshed  = 1 << 18        // places of a batch, four to a block, that 16 bits number
)

// Figure1 is the 16 settings of the paper's Figure 1: of each panel (a) to (h) the noisy chain and then its noiseless twin, on the same X.
func Figure1(seed uint64) []Setting {
	diagonal := func(a, b float64) [][]float64 { return [][]float64{{a, 0}, {0, b}} }
	panels := []struct {
		sigma2 float64
		sigma  [][]float64
	}{
		{0.25, diagonal(20, 20)}, {0.5, diagonal(20, 20)}, {1, diagonal(20, 20)}, {2, diagonal(20, 20)},
		{0.5, diagonal(10, 10)}, {0.5, diagonal(100, 100)}, {0.5, diagonal(10, 100)}, {0.5, diagonal(100, 10)},
	}
	var settings []Setting
	for _, p := range panels {
		s := Setting{Sigma: p.sigma, Sigma2: p.sigma2, N: 100, Batch: 5, Eta: 0.01, Refresh: Once, Seed: seed, Stream: uint32(len(settings))}
		twin := s
		twin.Sigma2, twin.Stream = 0, s.Stream+1
		settings = append(settings, s, twin)
	}
	return settings
}

// Check says all that is wrong with a setting: errors joined, each an ErrSetting.
func (s *Setting) Check() error {
	var wrong []error
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrSetting}, args...)...))
	}
	if _, err := cholesky(s.Sigma); err != nil {
		say("Sigma is %w", err)
	}
	if !(s.Sigma2 >= 0) || math.IsInf(s.Sigma2, 1) {
		say("the label noise has variance sigma2 = %v: give a finite number that is not negative", s.Sigma2)
	}
	if !(s.Eta > 0) || math.IsInf(s.Eta, 1) {
		say("the learning rate is eta = %v: give a finite number above 0", s.Eta)
	}
	if s.N < 1 || int64(s.N) > math.MaxUint32 {
		say("there are N = %d samples: give 1 to 2^32 - 1", s.N)
	}
	if s.Batch < 1 {
		say("a batch has B = %d samples: give 1 or more", s.Batch)
	}
	if !s.Replacement && s.N >= 1 && s.Batch > s.N {
		say("a batch of B = %d cannot be drawn from N = %d samples without replacement: give a smaller batch, or draw with replacement", s.Batch, s.N)
	}
	switch s.Refresh {
	case Once:
	case Iteration:
		if s.Batch > maxRefreshed {
			say("with noise at every iteration a batch of B = %d is too large: give at most %d", s.Batch, maxRefreshed)
		}
	default:
		say("refresh is %q: give once or iteration", s.Refresh)
	}
	return errors.Join(wrong...)
}

// dim is d.
func (s *Setting) dim() int { return len(s.Sigma) }

// Draw gives the samples: x = chol(Sigma) z with z standard normal, y = x'beta* + N(0, Sigma2), beta* = (1, ..., 1). With refresh=iteration the labels
// stay without noise. The bits are functions of seed, Sigma and Sigma2 on every platform.
func (s *Setting) Draw() (*Data, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	d := s.dim()
	root, err := cholesky(s.Sigma)
	if err != nil {
		return nil, err
	}
	deviation := 0.0
	if s.Refresh == Once {
		deviation = math.Sqrt(s.Sigma2)
	}
	data := &Data{X: make([][]float64, s.N), Y: make([]float64, s.N)}
	all := make([]float64, s.N*d)
	z := make([]float64, d+3)
	for i := range data.X {
		for j := 0; j < d; j += 4 {
			four := elementary.Normals(philox.At(s.Seed, philox.OLSData, 0, uint32(i), uint32(j/4)))
			copy(z[j:], four[:])
		}
		x := all[i*d : (i+1)*d : (i+1)*d]
		y := 0.0
		for r := range x {
			for c := range r + 1 {
				x[r] += float64(root[r][c] * z[c])
			}
			y += x[r]
		}
		if deviation > 0 {
			y += float64(deviation * elementary.Normals(philox.At(s.Seed, philox.OLSNoise, 0, uint32(i), 0))[0])
		}
		data.X[i], data.Y[i] = x, y
	}
	return data, nil
}

// cholesky is the lower L with L L' = sigma, by rows, with fixed bits; or what keeps sigma from being a covariance.
func cholesky(sigma [][]float64) ([][]float64, error) {
	d := len(sigma)
	if d == 0 {
		return nil, fmt.Errorf("%w: it has no rows", ErrSigma)
	}
	root := make([][]float64, d)
	for r, row := range sigma {
		if len(row) != d {
			return nil, fmt.Errorf("%w: it has %d rows, but row %d has %d numbers", ErrSigma, d, r+1, len(row))
		}
		for c, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%w: row %d has %v", ErrSigma, r+1, v)
			}
			if c < r && sigma[c][r] != v {
				return nil, fmt.Errorf("%w: not symmetric, %v at (%d, %d) and %v at (%d, %d)", ErrSigma, v, r+1, c+1, sigma[c][r], c+1, r+1)
			}
		}
	}
	for r, row := range sigma {
		root[r] = make([]float64, d)
		for c := range r + 1 {
			v := row[c]
			for k := range c {
				v -= float64(root[r][k] * root[c][k])
			}
			if c < r {
				root[r][c] = v / root[c][c]
				continue
			}
			// Rounding leaves about d parts in 2^53 of the diagonal where the true pivot is 0.
			if v <= float64(d)*0x1p-50*row[r] {
				return nil, fmt.Errorf("%w: not positive definite, the pivot of row %d is %.3g", ErrSigma, r+1, v)
			}
			root[r][r] = math.Sqrt(v)
		}
	}
	return root, nil
}
