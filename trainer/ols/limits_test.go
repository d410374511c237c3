package ols

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// An unstable setting is known as such, and blows up; where, is where the reference does. The chain beside it goes on.
func TestUnstable(t *testing.T) {
	s := Setting{Sigma: identity(2, 20), Sigma2: 0.5, N: 100, Batch: 5, Eta: 0.15, Refresh: Once, Seed: 2}
	stable := s
	stable.Eta = 0.01
	odd := s // not for the fast engine
	odd.Refresh = Iteration
	settings := []Setting{s, stable, odd}
	data := drawn(t, settings)
	theory, err := s.Theory(data[0])
	if err != nil {
		t.Fatal(err)
	}
	if theory.Radius2 < 1 || theory.Covariance != nil || theory.Apart != nil || theory.Tail != 0 || !math.IsInf(theory.Mixing2, 1) {
		t.Errorf("eta = %v, limit %v: radius %v, covariance %v", s.Eta, theory.Limit, theory.Radius2, theory.Covariance)
	}
	if theory.Limit < 0.04 || theory.Limit > s.Eta {
		t.Errorf("the limit is %v", theory.Limit)
	}
	for _, thin := range []int{1, 3} {
		paths, err := Run(context.Background(), settings, data, Options{Iterations: 3 * chunk, Keep: true, Thin: thin})
		if err != nil {
			t.Fatal(err)
		}
		for i := range settings {
			want := reference(&settings[i], data[i], 3*chunk)
			stop := slices.IndexFunc(want, func(b []float64) bool { return !(math.Abs(b[0]) <= 1e150 && math.Abs(b[1]) <= 1e150) })
			p := paths[i]
			if (i == 1) != (stop < 0) {
				t.Fatalf("the reference of setting %d goes beyond 1e150 at %d", i, stop)
			}
			if stop < 0 {
				if p.Diverged || p.K != 3*chunk || p.Mean == nil {
					t.Errorf("the stable chain: diverged %v after %d", p.Diverged, p.K)
				}
				continue
			}
			kept := (stop + 1) / thin
			if !p.Diverged || p.K != int64(stop+1) || p.Mean != nil || !slices.Equal(p.Last, want[stop]) || len(p.Beta) != 2*kept || !slices.Equal(p.Beta[2*kept-2:], want[kept*thin-1]) {
				t.Errorf("setting %d diverged: %v, after %d iterations at %v, %d kept; want %d", i, p.Diverged, p.K, p.Last, len(p.Beta)/2, stop+1)
			}
		}
	}
}

func TestRunRefuses(t *testing.T) {
	s := tiny(false, Once)
	data := drawn(t, []Setting{s})
	bad := s
	bad.Eta = -1
	few := s
	few.N, few.Batch = 1, 1
	for _, c := range []struct {
		settings []Setting
		data     []*Data
		o        Options
		is       error
		want     string
	}{
		{[]Setting{s}, data, Options{}, ErrOptions, "0 iterations"},
		{[]Setting{s}, data, Options{Iterations: 1<<47 + 1}, ErrOptions, "2^47"},
		{[]Setting{s}, data, Options{Iterations: 10, Thin: -1}, ErrOptions, "-1-th"},
		{[]Setting{s}, data, Options{Iterations: 10, Burn: 10}, ErrOptions, "10 of 10 iterations"},
		{[]Setting{s}, data, Options{Iterations: 10, Threads: -2}, ErrOptions, "-2 threads"},
		{[]Setting{s}, data, Options{Iterations: 10, Start: []float64{1}}, ErrOptions, "the start has 1 numbers, and chain 1 has 2"},
		{[]Setting{s}, data, Options{Iterations: 10, Start: []float64{1, math.NaN()}}, ErrOptions, "number 2 of the start is NaN"},
		{[]Setting{s, s}, data, Options{Iterations: 10}, ErrOptions, "2 settings, but data for 1"},
		{[]Setting{bad}, data, Options{Iterations: 10}, ErrSetting, "chain 1: bad setting: the learning rate"},
		{[]Setting{s}, []*Data{nil}, Options{Iterations: 10}, ErrSetting, "data of another number"},
		{[]Setting{few}, drawn(t, []Setting{few}), Options{Iterations: 10}, ErrSingular, "N = 1 of them in d = 2"},
	} {
		paths, err := Run(context.Background(), c.settings, c.data, c.o)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || paths != nil {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	settings := Figure1(1)
	ctx, cancel := context.WithCancel(context.Background())
	var told []int64
	paths, err := Run(ctx, settings, drawn(t, settings), Options{Iterations: 1e12, Threads: 2, Progress: func(done int64) {
		told = append(told, done)
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || paths != nil {
		t.Errorf("%v, %d paths", err, len(paths))
	}
	if len(told) == 0 || told[0] == 0 || !slices.IsSorted(told) {
		t.Errorf("progress was %v", told)
	}
}

func TestProgressEndsWithAll(t *testing.T) {
	settings := Figure1(1)
	var last int64
	if _, err := Run(context.Background(), settings, drawn(t, settings), Options{Iterations: 1500, Progress: func(done int64) { last = done }}); err != nil {
		t.Fatal(err)
	}
	if last != 16*1500 {
		t.Errorf("%d iterations were told of", last)
	}
}

// A start elsewhere, a burn of one's own, and runs too short for standard errors.
func TestStartAndBurn(t *testing.T) {
	s := Figure1(3)[:1]
	data := drawn(t, s)
	start := []float64{100, -50}
	paths, err := Run(context.Background(), s, data, Options{Iterations: 4, Keep: true, Start: start, Burn: 3})
	if err != nil {
		t.Fatal(err)
	}
	p := paths[0]
	if !slices.Equal(p.Mean, p.Last) || p.Covariance[0][0] != 0 || p.MeanError != nil || p.Segments != 0 || p.Burn != 3 {
		t.Errorf("moments of one iterate: %+v", p)
	}
	if start[0] != 100 || math.Abs(p.Beta[0]-100) > 60 || math.Abs(p.Beta[1]+50) > 60 {
		t.Errorf("from %v the first iterate is %v", start, p.Beta[:2])
	}
}

// Bytes is what Run takes for paths, to within what is small beside them; and nothing grows with the iterations where they are not kept.
func TestBytes(t *testing.T) {
	settings := Figure1(1)
	data := drawn(t, settings)
	took := func(o Options) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Run(context.Background(), settings, data, o); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	kept := Options{Iterations: 100_000, Keep: true}
	thinned := kept
	thinned.Thin = 10
	none := Options{Iterations: 100_000}
	base := took(Options{Iterations: 1})
	for _, o := range []Options{kept, thinned, none} {
		// base holds the engines and the theory, which is the same for all.
		if got, want := took(o)-base, float64(o.Bytes(settings)-none.Bytes(settings)); math.Abs(got-want) > 0.02*want+2e6 {
			t.Errorf("%+v takes %v bytes, Bytes says %v", o, got, want)
		}
	}
	none.Iterations = 1e10
	if got := none.Bytes(settings); got > 1<<20 {
		t.Errorf("10^10 iterations that are not kept take %d bytes", got)
	}
	kept.Iterations = 1e10
	if got, want := kept.Bytes(settings), int64(16*16*1e10); got < want || got > want+1<<20 {
		t.Errorf("10^10 iterations take %d bytes, want %d", got, want)
	}
}
