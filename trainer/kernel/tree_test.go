package kernel

import (
	"fmt"
	"testing"
)

func order(a, b int) string {
	if b-a == 1 {
		return fmt.Sprint(a)
	}
	m := Split(a, b)
	return "(" + order(a, m) + " " + order(m, b) + ")"
}

func TestSplitMakesTheTreeOfTheDesign(t *testing.T) {
	for _, v := range []struct {
		a, b int
		want string
	}{
		{0, 2, "(0 1)"},
		{0, 3, "((0 1) 2)"},
		{0, 4, "((0 1) (2 3))"},
		{0, 5, "(((0 1) (2 3)) 4)"},
		{0, 6, "(((0 1) (2 3)) (4 5))"},
		{0, 7, "(((0 1) (2 3)) ((4 5) 6))"},
		{4, 7, "((4 5) 6)"},
	} {
		if got := order(v.a, v.b); got != v.want {
			t.Errorf("tree over [%d, %d) is %s, want %s", v.a, v.b, got, v.want)
		}
	}
}

func TestSplitIsTheLargestPowerOfTwoBelow(t *testing.T) {
	for n := 2; n < 3000; n++ {
		m := Split(10, 10+n) - 10
		if m&(m-1) != 0 || m >= n || 2*m < n {
			t.Fatalf("Split of %d elements is at %d", n, m)
		}
	}
}

// Values whose order shows: a float32 holds 1e8 + 1 only as 1e8.
func TestTreeOrderShowsInTheSum(t *testing.T) {
	v := []float32{1e8, 1, -1e8, 1, 1}
	var sum func(a, b int) float32
	sum = func(a, b int) float32 {
		if b-a == 1 {
			return v[a]
		}
		m := Split(a, b)
		return sum(a, m) + sum(m, b)
	}
	// ((1e8 + 1) + (-1e8 + 1)) + 1 = (1e8 - 1e8) + 1; a chain would give 2.
	if got := sum(0, len(v)); got != 1 {
		t.Errorf("tree sum is %v, want 1", got)
	}
	chain := float32(0)
	for _, x := range v {
		chain += x
	}
	if chain != 2 {
		t.Errorf("the chain's sum is %v, want 2: these values no longer tell the orders apart", chain)
	}
}
