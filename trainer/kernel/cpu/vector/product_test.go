package vector

import (
	"math/rand/v2"
	"testing"
)

// The fast way is the one that ordinary numbers go, zeros too, and small ones whose products are no denormals; the other is taken where it must be.
func TestPlainChains(t *testing.T) {
	const terms = 40
	for _, c := range []struct {
		name              string
		left, right, sums float32 // factors of random numbers
		plain             bool
	}{
		{"ordinary", 1, 1, 1, true},
		{"zeros on the left", 0, 1, 1, true},
		{"zeros on the right", 1, 0, 1, true},
		{"from zero", 1, 1, 0, true},
		{"a small gradient", 1, 0x1p-50, 0x1p-50, true},
		{"tiny products", 0x1p-40, 0x1p-60, 0, false},
		{"a tiny sum", 1, 1, 0x1p-120, false},
	} {
		r := rand.New(rand.NewPCG(1, 4))
		random := func(factor float32) float32 { return factor * float32(1+r.Float64()) * float32(1-2*r.IntN(2)) }
		var left [terms]float32
		var right [terms]sums
		var out sums
		for i := range left {
			left[i] = random(c.left)
			for j := range right[i] {
				right[i][j] = random(c.right)
			}
		}
		for j := range out {
			out[j] = random(c.sums)
		}
		b := block{terms: make([]factors, terms)}
		b.take(&right[0][0], blockCols)
		before := out
		if got := b.plainChains(&left[0], 1, &out); got != c.plain {
			t.Errorf("%s: plain is %v, want %v", c.name, got, c.plain)
		}
		if !c.plain && out != before {
			t.Errorf("%s: sums have changed", c.name)
		}
	}
}
