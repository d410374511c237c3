package vector

import (
	"math"
	"unsafe"
)

// chains is the columns whose chains go on side by side: enough to hide an addition's latency.
const chains = 8

func multiply(p *Product, v, u, m, _, _ *float32) {
	for pos := range p.Positions {
		left, right, out := from(v, pos*p.LeftPosition), from(u, pos*p.RightPosition), from(m, pos*p.OutPosition)
		for t := range p.Rows {
			row := unsafe.Slice(from(left, t*p.LeftRow), p.Depth)
			for j := 0; j < p.Cols; j += chains {
				var c [chains]float64
				link(&c, row, 1, from(right, j), p.Cols)
				to := (*[chains]float32)(unsafe.Pointer(from(out, t*p.Cols+j)))
				for i, s := range c {
					to[i] = float32(s)
				}
			}
		}
	}
}

func accumulate(p *Product, v, q, s, _ *float32, first bool) {
	for pos := range p.Positions {
		left, right, out := from(v, pos*p.LeftPosition), from(q, pos*p.RightPosition), from(s, pos*p.OutPosition)
		for i := range p.Rows {
			column := unsafe.Slice(from(left, i), (p.Depth-1)*p.LeftRow+1)
			for j := 0; j < p.Cols; j += chains {
				var c [chains]float64
				to := (*[chains]float32)(unsafe.Pointer(from(out, i*p.Cols+j)))
				if !first {
					for l, x := range to {
						c[l] = float64(x)
					}
				}
				link(&c, column, p.LeftRow, from(right, j), p.Cols)
				for l, x := range c {
					to[l] = float32(x)
				}
			}
		}
	}
}

// link goes on with chains side by side: c[j] = fma(a[k], b[k][j], c[j]) for k in order, a's elements stride apart, b's rows `row` apart. c holds float32 numbers.
func link(c *[chains]float64, a []float32, stride int, b *float32, row int) {
	c0, c1, c2, c3, c4, c5, c6, c7 := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	next := func(s, a, b float64) float64 {
		t := a*b + s
		if doubtful(math.Float64bits(t)) {
			return float64(fmaOdd(a*b, s))
		}
		return float64(float32(t))
	}
	for k, i := 0, 0; i < len(a); k, i = k+1, i+stride {
		x, y := float64(a[i]), (*[chains]float32)(unsafe.Pointer(from(b, k*row)))
		c0 = next(c0, x, float64(y[0]))
		c1 = next(c1, x, float64(y[1]))
		c2 = next(c2, x, float64(y[2]))
		c3 = next(c3, x, float64(y[3]))
		c4 = next(c4, x, float64(y[4]))
		c5 = next(c5, x, float64(y[5]))
		c6 = next(c6, x, float64(y[6]))
		c7 = next(c7, x, float64(y[7]))
	}
	*c = [chains]float64{c0, c1, c2, c3, c4, c5, c6, c7}
}
