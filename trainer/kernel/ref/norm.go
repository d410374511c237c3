package ref

import "math"

// channel calls f for every element of channel ch of group g, with its offset.
func (c *call) channel(g, ch int, f func(i int)) {
	plane := c.H * c.W
	for n := range c.N {
		for p := range plane {
			f(((g*c.N+n)*c.C+ch)*plane + p)
		}
	}
}

func (c *call) normStats() {
	x, shift := c.Real(0), c.Real(1)
	count := float64(c.N * c.H * c.W)
	for g := range c.Groups {
		for ch := range c.C {
			sum, squares := 0.0, 0.0
			c.channel(g, ch, func(i int) { sum += x[i] - shift[ch] })
			mean := shift[ch] + sum/count
			c.channel(g, ch, func(i int) { squares += (x[i] - mean) * (x[i] - mean) })
			c.Part(2, g)[ch], c.Part(3, g)[ch] = mean, squares/count
			c.Part(4, g)[ch], c.Part(4, g)[c.C+ch] = mean, squares/(count-1)
		}
	}
}

func (c *call) normSums() {
	x, shift := c.Real(0), c.Real(1)
	for g := range c.Groups {
		for ch := range c.C {
			sum, squares := 0.0, 0.0
			c.channel(g, ch, func(i int) {
				d := x[i] - shift[ch]
				sum += d
				squares += d * d
			})
			c.Part(2, g)[ch], c.Part(2, g)[c.C+ch] = sum, squares
		}
	}
}

// normFinish: rounding alone can make the variance negative; it is 0 then.
func (c *call) normFinish() {
	sums, shift := c.Real(0), c.Real(1)
	count := float64(c.Count)
	for ch := range c.C {
		d := sums[ch] / count
		mean, variance := shift[ch]+d, sums[c.C+ch]/count-d*d
		if variance < 0 {
			variance = 0
		}
		for g := range c.Groups {
			c.Part(2, g)[ch], c.Part(3, g)[ch] = mean, variance
			c.Part(4, g)[ch], c.Part(4, g)[c.C+ch] = mean, variance*count/(count-1)
		}
	}
}

func (c *call) rstd(variance float64) float64 { return 1 / math.Sqrt(variance+c.Epsilon) }

func (c *call) normForward() {
	x, gamma, beta, y := c.Real(0), c.Real(3), c.Real(4), c.Real(5)
	for g := range c.Groups {
		for ch := range c.C {
			mean, rstd := c.Part(1, g)[ch], c.rstd(c.Part(2, g)[ch])
			c.channel(g, ch, func(i int) { y[i] = gamma[ch]*(x[i]-mean)*rstd + beta[ch] })
		}
	}
}

func (c *call) normGradSums() {
	dy, x := c.Real(0), c.Real(1)
	for g := range c.Groups {
		for ch := range c.C {
			mean, rstd := c.Part(2, g)[ch], c.rstd(c.Part(3, g)[ch])
			dgamma, dbeta := 0.0, 0.0
			c.channel(g, ch, func(i int) {
				dgamma += dy[i] * (x[i] - mean) * rstd
				dbeta += dy[i]
			})
			c.Part(4, g)[ch], c.Part(5, g)[ch] = dgamma, dbeta
		}
	}
}

func (c *call) normDataGrad() {
	dy, x, gamma, dx := c.Real(0), c.Real(1), c.Real(4), c.Real(7)
	count := float64(c.Count)
	for g := range c.Groups {
		for ch := range c.C {
			mean, rstd := c.Part(2, g)[ch], c.rstd(c.Part(3, g)[ch])
			dgamma, dbeta := c.Part(5, g)[ch], c.Part(6, g)[ch]
			c.channel(g, ch, func(i int) {
				dx[i] = gamma[ch] * rstd * (dy[i] - dbeta/count - (x[i]-mean)*rstd*dgamma/count)
			})
		}
	}
}

func (c *call) normEvalDataGrad() {
	dy, variance, gamma, dx := c.Real(0), c.Real(1), c.Real(2), c.Real(3)
	for g := range c.Groups {
		for ch := range c.C {
			c.channel(g, ch, func(i int) { dx[i] = gamma[ch] * c.rstd(variance[ch]) * dy[i] })
		}
	}
}

func (c *call) normSquares() {
	dy, x, mean, variance, q := c.Real(0), c.Real(1), c.Real(2), c.Real(3), c.Real(4)
	plane := c.H * c.W
	for n := range q {
		for ch := range c.C {
			dgamma, dbeta := 0.0, 0.0
			image := x[(c.forward(n)*c.C+ch)*plane:]
			for p, d := range dy[(n*c.C+ch)*plane : (n*c.C+ch+1)*plane] {
				dgamma += d * (image[p] - mean[ch]) * c.rstd(variance[ch])
				dbeta += d
			}
			q[n] += dgamma*dgamma + dbeta*dbeta
		}
	}
}
