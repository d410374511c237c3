package study

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// resamples of every bootstrap and permutation here.
const resamples = 10_000

// observation is y of a run at x of its arm.
type observation struct {
	x, y float64
	seed uint64
}

// trend is Spearman's correlation of x and y over runs, with its 95 % interval; ok is false where fewer than two seeds or two values of x give none.
//
// The settings are fixed and the seeds are a sample, so seeds are resampled within each x: Rao and Wu's bootstrap (1988), which draws one fewer than there are, for with three seeds
// the plain one has intervals too narrow by a fifth; the interval is from its percentiles, each correlation taken as a part of what its ties let it attain. Where a few runs happen to be in order no resampling can break it, so the interval is
// extended to 0 unless a permutation test rejects 0 at 5 %: y changes places among the x of one seed, which needs no model and is as strict with two runs as with two hundred. A verdict by
// the sign of the interval is therefore wrong in at most 5 % of studies in which x has no effect. (Simulated, with normal values: 2 to 4 % at 5 and 11 settings of 2 and 3 seeds; the interval holds the
// correlation of many seeds in 88 to 95 % of studies of three seeds, and in 71 to 87 % with two, which say too little of how seeds vary.)
func trend(obs []observation, purpose uint64) (rho, low, high, p float64, ok bool) {
	xs, ys := make([]float64, len(obs)), make([]float64, len(obs))
	for i, o := range obs {
		xs[i], ys[i] = o.x, o.y
	}
	byX, bySeed := groups(obs, func(o observation) float64 { return o.x }), groups(obs, func(o observation) uint64 { return o.seed })
	if len(byX) < 2 {
		return 0, 0, 0, 1, false
	}
	rho = spearman(xs, ys)
	if len(bySeed) < 2 {
		return rho, 0, 0, 1, false
	}
	rng := newDraws(purpose)
	low, high = bootstrapTrend(obs, byX, rng)
	most := attainable(xs, ys)
	low, high = math.Min(low*most, rho), math.Max(high*most, rho) // else a rounding could leave rho out
	p = permuteTrend(xs, ys, rho, bySeed, rng)
	if p > 1-confidence {
		low, high = math.Min(low, 0), math.Max(high, 0)
	}
	return rho, low, high, p, true
}

// groups are the indices of observations of one key, by the first of each: an order that no map has.
func groups[K comparable](obs []observation, key func(observation) K) [][]int {
	var keys []K
	var out [][]int
	for i, o := range obs {
		g := slices.Index(keys, key(o))
		if g < 0 {
			g, keys, out = len(keys), append(keys, key(o)), append(out, nil)
		}
		out[g] = append(out[g], i)
	}
	return out
}

func bootstrapTrend(obs []observation, strata [][]int, rng draws) (low, high float64) {
	rhos := make([]float64, resamples)
	var xs, ys []float64
	for r := range rhos {
		xs, ys = xs[:0], ys[:0]
		for _, s := range strata {
			for range max(1, len(s)-1) {
				o := obs[s[rng.below(len(s))]]
				xs, ys = append(xs, o.x), append(ys, o.y)
			}
		}
		if most := attainable(xs, ys); most > 0 {
			rhos[r] = spearman(xs, ys) / most
		}
	}
	slices.Sort(rhos)
	return quantile(rhos, (1-confidence)/2), quantile(rhos, (1+confidence)/2)
}

// attainable is Spearman's correlation of the same numbers in perfect order: below 1 where x has ties, which a resample with a run twice has more of in y as well.
func attainable(xs, ys []float64) float64 {
	a, b := slices.Clone(xs), slices.Clone(ys)
	slices.Sort(a)
	slices.Sort(b)
	return spearman(a, b)
}

// permuteTrend is the two-sided p of the hypothesis that, in each seed, any order of the values was as likely.
func permuteTrend(xs, ys []float64, rho float64, blocks [][]int, rng draws) float64 {
	a, b := ranks(xs), ranks(ys)
	if stat.Variance(a, nil) == 0 || stat.Variance(b, nil) == 0 {
		return 1
	}
	const rounding = 1e-12
	as := 0
	for range resamples {
		for _, block := range blocks {
			for i := len(block) - 1; i > 0; i-- {
				j := rng.below(i + 1)
				b[block[i]], b[block[j]] = b[block[j]], b[block[i]]
			}
		}
		if math.Abs(stat.Correlation(a, b, nil)) >= math.Abs(rho)-rounding {
			as++
		}
	}
	return float64(1+as) / float64(1+resamples)
}
