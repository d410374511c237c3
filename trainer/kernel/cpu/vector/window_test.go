package vector

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Every set has the bits of plain Go, and touches nothing else, for windows of any depth and number of columns.
func TestWindows(t *testing.T) {
	const pixels, guard = 24, 16
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	for range 300 {
		p := Window{Pixels: pixels, Pieces: r.IntN(4), Depth: 1 + r.IntN(50), Cols: 16 * (1 + r.IntN(5)), Block: pixels * Lanes}
		p.Piece = (p.Depth + r.IntN(3)) * p.Cols
		offsets, from, to := make([]int, p.Pieces+1), make([]int, pixels), r.Perm(pixels)
		for i := range offsets {
			offsets[i] = r.IntN(20)
		}
		for i := range from {
			from[i] = r.IntN(100)
			to[i] *= Lanes
		}
		x, u, y := random(20+100+p.Depth), random(p.Pieces*p.Depth*p.Cols+1), random(p.Cols*pixels+guard)
		dw := random(p.Pieces*p.Piece + guard)
		last := p
		last.Pixels = r.IntN(pixels + 1)
		var wantY, wantDW []float32
		for i, set := range Sets() {
			gotY, gotDW := slices.Clone(y), slices.Clone(dw)
			set.Convolve(&p, &x[0], &from[0], &offsets[0], &u[0], &gotY[0], &to[0])
			set.ConvolveGrad(&last, &x[0], &from[0], &offsets[0], &y[0], &gotDW[0], &to[0])
			if i == 0 {
				wantY, wantDW = gotY, gotDW
			}
			if !slices.Equal(gotY, wantY) {
				t.Errorf("Convolve of %s differs from plain Go's at %+v", set.Name, p)
			}
			if !slices.Equal(gotDW, wantDW) {
				t.Errorf("ConvolveGrad of %s differs from plain Go's at %+v", set.Name, last)
			}
		}
	}
}
