package vector

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A layer of few tiles: x is [tile][6][6][channel], y [tile][4][4][channel], w [channel of y][channel of x][3][3].
const (
	inSide, outSide, filterSide, points = 6, 4, 3, 36
)

type layer struct {
	tiles, channels int // of x and of y
	x, y, w         []float32
}

func newLayer(tiles, channels int) *layer {
	r := rand.New(rand.NewPCG(uint64(channels), 3))
	normal := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	return &layer{tiles, channels, normal(tiles * inSide * inSide * channels), normal(tiles * outSide * outSide * channels), normal(channels * channels * 9)}
}

// each goes through the terms of the correlation: tile t, pixel (i, j) and channel k of y, tap (r, s) and channel c of x.
func (l *layer) each(term func(x, y, w int)) {
	for t := range l.tiles {
		for pixel := range outSide * outSide {
			for k := range l.channels {
				for tap := range 9 {
					i, j := pixel/outSide+tap/filterSide, pixel%outSide+tap%filterSide
					for c := range l.channels {
						term(((t*inSide+i)*inSide+j)*l.channels+c, (t*outSide*outSide+pixel)*l.channels+k, (k*l.channels+c)*9+tap)
					}
				}
			}
		}
	}
}

// blocks is a tile-wise array [tile][side][side][channel] in blocks of 16 channels, [block][tile][side][side][Lanes], or back.
func blocks(tiles, side, channels int, from []float32, back bool) []float32 {
	to := make([]float32, len(from))
	for pixel := range tiles * side * side {
		for c := range channels {
			plain, blocked := pixel*channels+c, (c/Lanes*tiles*side*side+pixel)*Lanes+c%Lanes
			if back {
				plain, blocked = blocked, plain
			}
			to[blocked] = from[plain]
		}
	}
	return to
}

// tilesOf is the positions of all tiles by a transform of one, [position][tile][channel].
func (l *layer) tilesOf(from []float32, side int, one func(x *float32, row int, v *float32, position, tile, n int)) []float32 {
	to := make([]float32, points*l.tiles*l.channels)
	in := blocks(l.tiles, side, l.channels, from, false)
	for block := range l.channels / Lanes {
		for t := range l.tiles {
			one(&in[(block*l.tiles+t)*side*side*Lanes], side*Lanes, &to[t*l.channels+block*Lanes], l.tiles*l.channels, 0, 1)
		}
	}
	return to
}

// forward is y by Winograd's way; flipped filters are read backwards.
func (l *layer) forward(set *Set, flip bool) []float32 {
	v := l.tilesOf(l.x, inSide, set.InputTiles)
	u, m := make([]float32, points*l.channels*l.channels), make([]float32, len(v))
	for k := 0; k < l.channels; k += Lanes { // u is [position][channel of x][channel of y]
		set.WeightTiles(&l.w[k*l.channels*9], l.channels*9, Lanes, flip, 9, &u[k], l.channels*l.channels, l.channels, l.channels)
	}
	set.Multiply(&Product{
		Positions: points, Rows: l.tiles, Depth: l.channels, Cols: l.channels,
		LeftPosition: l.tiles * l.channels, LeftRow: l.channels, RightPosition: l.channels * l.channels, OutPosition: l.tiles * l.channels,
	}, &v[0], &u[0], &m[0], nil, nil)
	y := make([]float32, len(l.y))
	for block := range l.channels / Lanes {
		for t := range l.tiles {
			set.OutputTiles(&m[t*l.channels+block*Lanes], l.tiles*l.channels, 0, &y[(block*l.tiles+t)*outSide*outSide*Lanes], outSide*Lanes, 1)
		}
	}
	return blocks(l.tiles, outSide, l.channels, y, true)
}

// weightGrad is the gradient of w by Winograd's way, with y as the gradient of the output.
func (l *layer) weightGrad(set *Set) []float32 {
	v, q := l.tilesOf(l.x, inSide, set.InputTiles), l.tilesOf(l.y, outSide, set.GradTiles)
	n := l.channels * l.channels
	s, dw := make([]float32, points*n), make([]float32, 9*n)
	set.Accumulate(&Product{
		Positions: points, Rows: l.channels, Depth: l.tiles, Cols: l.channels,
		LeftPosition: l.tiles * l.channels, LeftRow: l.channels, RightPosition: l.tiles * l.channels, OutPosition: n,
	}, &v[0], &q[0], &s[0], nil, true)
	set.WeightGradTiles(&s[0], n, &dw[0], n, n/Lanes)
	out := make([]float32, len(dw)) // dw is [tap][channel of x][channel of y]
	for i, d := range dw {
		tap, c, k := i/n, i%n/l.channels, i%l.channels
		out[(k*l.channels+c)*9+tap] = d
	}
	return out
}

// relative is the norm of got - want over want's.
func relative(got []float32, want []float64) float64 {
	var d, n float64
	for i, w := range want {
		d += (float64(got[i]) - w) * (float64(got[i]) - w)
		n += w * w
	}
	return math.Sqrt(d / n)
}

// Winograd's way computes the correlation and the gradient of its weights, with an error of at most four times that of the plain chain of fused multiply-adds.
func TestTransformsGiveTheConvolutionAndItsGradient(t *testing.T) {
	for _, channels := range []int{16, 64} {
		l := newLayer(16, channels)
		y, flipped, dw := make([]float64, len(l.y)), make([]float64, len(l.y)), make([]float64, len(l.w))
		chainY, chainDW := make([]float32, len(l.y)), make([]float32, len(l.w))
		l.each(func(x, out, w int) {
			y[out] += float64(l.x[x]) * float64(l.w[w])
			flipped[out] += float64(l.x[x]) * float64(l.w[w-w%9+8-w%9])
			dw[w] += float64(l.x[x]) * float64(l.y[out])
			chainY[out] = fma(l.x[x], l.w[w], chainY[out])
			chainDW[w] = fma(l.x[x], l.y[out], chainDW[w])
		})
		for _, c := range []struct {
			name  string
			got   []float32
			want  []float64
			chain float64
		}{
			{"forward", l.forward(&generic, false), y, relative(chainY, y)},
			{"forward with flipped filters", l.forward(&generic, true), flipped, relative(chainY, y)},
			{"weight gradient", l.weightGrad(&generic), dw, relative(chainDW, dw)},
		} {
			e := relative(c.got, c.want)
			t.Logf("%d channels, %s: relative error %.2g, the chain's %.2g", channels, c.name, e, c.chain)
			if !(e <= 4*c.chain) {
				t.Errorf("%d channels, %s: relative error %.2g, more than four times the chain's %.2g", channels, c.name, e, c.chain)
			}
		}
	}
}
