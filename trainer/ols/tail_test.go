package ols

import (
	"math"
	"slices"
	"testing"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// Pareto's law has nothing but its tail: the 95 % interval holds alpha about as often as it says. Student's law with 3 degrees of freedom is near a power only far out.
func TestTailIndex(t *testing.T) {
	const draws, n = 200, 3000
	held := 0
	for draw := range uint32(draws) {
		values := make([]float64, n)
		for i := range values {
			w := philox.At(5, 1<<31, 0, draw, uint32(i))
			values[i] = 7 * math.Pow(1-philox.Unit(w[0], w[1]), -1/2.5)
		}
		alpha, low, high := TailIndex(values)
		if !(low < alpha && alpha < high) {
			t.Fatalf("%v to %v round %v", low, high, alpha)
		}
		if low <= 2.5 && 2.5 <= high {
			held++
		}
	}
	// 190 are expected, give or take 3.
	if held < 178 || held > 199 {
		t.Errorf("the interval held alpha %d times of %d", held, draws)
	}
	student := make([]float64, 100_000)
	for i := range student {
		z := elementary.Normals(philox.At(6, 1<<31, 0, 0, uint32(i)))
		student[i] = math.Abs(z[0]) / math.Sqrt((z[1]*z[1]+z[2]*z[2]+z[3]*z[3])/3)
	}
	if alpha, low, high := TailIndex(student); math.Abs(alpha-3) > 0.35 || high-low > 0.5 {
		t.Errorf("Student's law with 3 degrees of freedom: %v (%v to %v)", alpha, low, high)
	}
}

func TestLargest(t *testing.T) {
	for n := range uint32(60) {
		var values []float64
		for i := range n {
			// With repetitions, and some that do not count.
			values = append(values, float64(philox.At(9, 1<<31, 0, n, i)[0]%20)-3)
		}
		var want []float64
		for _, v := range append(values, math.Inf(1), math.NaN()) {
			if v > 0 && v < 100 {
				want = append(want, v)
			}
		}
		slices.Sort(want)
		slices.Reverse(want)
		for k := 1; k <= len(want); k++ {
			if got := largest(append([]float64{math.Inf(1), math.NaN()}, values...), k); !slices.Equal(got, want[:k]) {
				t.Fatalf("the %d largest of %v are %v", k, values, got)
			}
		}
	}
}

func TestTailIndexOfNothing(t *testing.T) {
	equal := slices.Repeat([]float64{2}, 1000)
	some := make([]float64, 1000)
	copy(some, []float64{1, 2, 3, math.Inf(1), math.NaN(), -4})
	for _, values := range [][]float64{nil, {5}, {1, 2, 3}, equal, some} {
		if alpha, low, high := TailIndex(values); !math.IsNaN(alpha) || !math.IsNaN(low) || !math.IsNaN(high) {
			t.Errorf("%v... has tail index %v (%v to %v)", values[:min(3, len(values))], alpha, low, high)
		}
	}
}

func TestDistances(t *testing.T) {
	p := Path{Thin: 2, K: 13, Burn: 5, Beta: []float64{9, 9, 9, 9, 3, 4, 9, 9, 0, 2, 9, 9}}
	// Kept are iterates 2, 4, ..., 12; the first after burn is 6, and of those every second is 4 iterations from the last.
	if got := p.Distances([]float64{0, 0}, 3.5); !slices.Equal(got, []float64{5, 2}) {
		t.Errorf("distances are %v", got)
	}
	if got := p.Distances([]float64{0, 0}, math.Inf(1)); !slices.Equal(got, []float64{5}) {
		t.Errorf("of a chain that does not mix: %v", got)
	}
	if got := (&Path{K: 10}).Distances([]float64{0, 0}, 1); got != nil {
		t.Errorf("of a path that was not kept: %v", got)
	}
}
