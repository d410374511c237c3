package ols

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// referenceBatch is the layout of docs/random.md, as it says it.
func referenceBatch(s *Setting, k int64) []uint32 {
	perWord := 1
	for float64(perWord) < float64(s.Batch) && math.Pow(float64(s.N), float64(perWord+1)) <= 1<<34 {
		perWord++
	}
	words := uint64((s.Batch + perWord - 1) / perWord)
	var batch []uint32
	var u uint64
	for place := range s.Batch {
		if place%perWord == 0 {
			number := uint64(k-1)*words + uint64(place/perWord)
			w := philox.At(s.Seed, philox.OLSBatch, uint32(number/2), s.Stream, uint32(number/2>>32))
			half := number % 2 * 2
			u = uint64(w[half+1])<<32 | uint64(w[half])
		}
		n := uint64(s.N)
		if !s.Replacement {
			n = uint64(s.N - s.Batch + place + 1)
		}
		high, low := bits.Mul64(u, n)
		u = low
		if !s.Replacement && slices.Contains(batch, uint32(high)) {
			high = n - 1
		}
		batch = append(batch, uint32(high))
	}
	return batch
}

// reference is the chain as engine's comment writes it: [K][d].
func reference(s *Setting, data *Data, iterations int64) [][]float64 {
	d := s.dim()
	beta := make([]float64, d)
	var path [][]float64
	for k := int64(1); k <= iterations; k++ {
		sum := make([]float64, d)
		for place, i := range referenceBatch(s, k) {
			y := data.Y[i]
			if s.Refresh == Iteration {
				z := elementary.Normals(philox.At(s.Seed, philox.OLSNoise, uint32(k), s.Stream, uint32(place/4)))
				y += float64(math.Sqrt(s.Sigma2) * z[place%4])
			}
			r := 0.0
			for j := range d {
				r += float64(data.X[i][j] * beta[j])
			}
			r -= y
			for j := range d {
				sum[j] += float64(data.X[i][j] * r)
			}
		}
		for j := range d {
			beta[j] -= float64(s.Eta / float64(s.Batch) * sum[j])
		}
		path = append(path, slices.Clone(beta))
	}
	return path
}

func identity(d int, scale float64) [][]float64 {
	out := square(d)
	for j := range out {
		out[j][j] = scale
	}
	return out
}

// odd are settings of all kinds, and for each whether the fast engine takes it.
func odd() (settings []Setting, fast []bool) {
	add := func(s Setting, packs bool) {
		s.Seed, s.Stream = 77, uint32(len(settings))
		settings, fast = append(settings, s), append(fast, packs)
	}
	add(Setting{Sigma: identity(2, 20), Sigma2: 0.5, N: 100, Batch: 5, Eta: 0.01, Refresh: Once}, true)
	add(Setting{Sigma: identity(2, 20), Sigma2: 0, N: 100, Batch: 5, Eta: 0.01, Refresh: Once}, true)
	add(Setting{Sigma: identity(2, 5), Sigma2: 0.5, N: 100, Batch: 5, Eta: 0.01, Refresh: Once, Replacement: true}, true)
	add(Setting{Sigma: [][]float64{{3, 1}, {1, 2}}, Sigma2: 1, N: 8, Batch: 8, Eta: 0.1, Refresh: Once}, true)
	add(Setting{Sigma: [][]float64{{3, 1}, {1, 2}}, Sigma2: 1, N: 9, Batch: 7, Eta: 0.1, Refresh: Once}, true)
	add(Setting{Sigma: [][]float64{{3, 1}, {1, 2}}, Sigma2: 1, N: 256, Batch: 1, Eta: 0.02, Refresh: Once}, true)
	add(Setting{Sigma: [][]float64{{3, 1}, {1, 2}}, Sigma2: 1, N: 256, Batch: 4, Eta: 0.02, Refresh: Once, Replacement: true}, true)
	add(Setting{Sigma: identity(2, 1), Sigma2: 1, N: 257, Batch: 2, Eta: 0.1, Refresh: Once}, false)
	add(Setting{Sigma: identity(2, 1), Sigma2: 1, N: 100, Batch: 6, Eta: 0.1, Refresh: Once}, false)
	add(Setting{Sigma: identity(2, 1), Sigma2: 1, N: 50, Batch: 11, Eta: 0.1, Refresh: Once}, false)
	add(Setting{Sigma: identity(2, 20), Sigma2: 0.5, N: 100, Batch: 5, Eta: 0.01, Refresh: Iteration}, false)
	add(Setting{Sigma: identity(1, 2), Sigma2: 0.5, N: 10, Batch: 3, Eta: 0.1, Refresh: Once}, false)
	add(Setting{Sigma: identity(7, 2), Sigma2: 0.5, N: 30, Batch: 9, Eta: 0.05, Refresh: Iteration, Replacement: true}, false)
	return settings, fast
}

func drawn(t testing.TB, settings []Setting) []*Data {
	t.Helper()
	var data []*Data
	for i := range settings {
		d, err := settings[i].Draw()
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, d)
	}
	return data
}

func TestRunAgainstReference(t *testing.T) {
	settings, fast := odd()
	data := drawn(t, settings)
	const iterations = 2*chunk + 317
	for _, o := range []Options{{Iterations: iterations, Keep: true, Threads: 3}, {Iterations: iterations, Keep: true, Thin: 7, Threads: 1}, {Iterations: iterations, Threads: 16}} {
		paths, err := Run(context.Background(), settings, data, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range settings {
			s, p := &settings[i], &paths[i]
			if _, packs := newEngine(s, data[i]).(*packed); packs != fast[i] {
				t.Errorf("setting %d: the fast engine took it: %v", i, packs)
			}
			want := reference(s, data[i], iterations)
			var kept []float64
			for k := o.thin(); o.Keep && k <= len(want); k += o.thin() {
				kept = append(kept, want[k-1]...)
			}
			if !slices.Equal(p.Beta, kept) {
				t.Errorf("setting %d, options %+v: the path is not that of the reference", i, o)
			}
			if !slices.Equal(p.Last, want[iterations-1]) || p.K != iterations || p.Diverged {
				t.Errorf("setting %d: it ends after %d iterations at %v, want %v after %d", i, p.K, p.Last, want[iterations-1], iterations)
			}
			checkMoments(t, p, want)
		}
	}
}

// checkMoments computes them again in two passes.
func checkMoments(t *testing.T, p *Path, path [][]float64) {
	t.Helper()
	d := len(path[0])
	moments := func(part [][]float64, about []float64) (mean []float64, covariance [][]float64) {
		mean, covariance = make([]float64, d), square(d)
		for _, b := range part {
			for i, v := range b {
				mean[i] += v / float64(len(part))
			}
		}
		if about == nil {
			about = mean
		}
		for _, b := range part {
			for i := range b {
				for j := range b {
					covariance[i][j] += (b[i] - about[i]) * (b[j] - about[j]) / float64(len(part))
				}
			}
		}
		return mean, covariance
	}
	after := path[p.Burn:]
	mean, covariance := moments(after, nil)
	for i := range d {
		near(t, "Mean", p.Mean[i], mean[i], 1e-12)
		for j := range d {
			near(t, "Covariance", p.Covariance[i][j], covariance[i][j], 1e-12)
		}
	}
	if p.Segments == 0 {
		return
	}
	length := len(after) / p.Segments
	var means, first [][]float64
	for s := range p.Segments {
		m, c := moments(after[s*length:(s+1)*length], mean)
		means = append(means, m)
		first = append(first, []float64{c[0][d-1]})
	}
	spread := func(values [][]float64, i int) float64 {
		sum, squares := 0.0, 0.0
		for _, v := range values {
			sum += v[i] / float64(len(values))
		}
		for _, v := range values {
			squares += (v[i] - sum) * (v[i] - sum)
		}
		return math.Sqrt(squares / float64(len(values)*(len(values)-1)))
	}
	for i := range d {
		near(t, "MeanError", p.MeanError[i], spread(means, i), 1e-12)
	}
	near(t, "CovarianceError", p.CovarianceError[0][d-1], spread(first, 0), 1e-12)
}

func BenchmarkFigure1(b *testing.B) {
	settings := Figure1(1)
	data := drawn(b, settings)
	const iterations = 1_000_000
	for b.Loop() {
		if _, err := Run(context.Background(), settings, data, Options{Iterations: iterations, Keep: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(settings)*iterations), "ns/iteration")
}
