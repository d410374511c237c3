package ref

import "math"

// row is image n's numbers among v.
func (c *call) row(v []float64, n int) []float64 { return v[n*c.K : (n+1)*c.K] }

// logSoftmax is the logarithm of softmax(v/temperature).
func logSoftmax(v []float64, temperature float64) []float64 {
	most, sum := math.Inf(-1), 0.0
	for _, x := range v {
		most = max(most, x/temperature)
	}
	for _, x := range v {
		sum += math.Exp(x/temperature - most)
	}
	logs := make([]float64, len(v))
	for k, x := range v {
		logs[k] = x/temperature - most - math.Log(sum)
	}
	return logs
}

// sums puts the sum over a group's images of loss, times scale, into the third argument.
func (c *call) sums(scale float64, loss func(n int) float64) {
	for g := range c.Groups {
		sum := 0.0
		for n := g * c.N; n < (g+1)*c.N; n++ {
			sum += loss(n)
		}
		c.Part(2, g)[0] = scale * sum
	}
}

func (c *call) quadraticForward() {
	f, y := c.Real(0), c.Real(1)
	c.sums(c.Scale/2, func(n int) (sum float64) {
		for k, v := range c.row(f, n) {
			d := v - c.row(y, n)[k]
			sum += d * d
		}
		return sum
	})
}

func (c *call) quadraticGrad() {
	f, y, df := c.Real(0), c.Real(1), c.Real(2)
	for i := range df {
		df[i] = c.Scale * (f[i] - y[i])
	}
}

func (c *call) kdForward() {
	f, y := c.Real(0), c.Real(1)
	c.sums(c.Scale*c.Temperature*c.Temperature, func(n int) (sum float64) {
		p, q := logSoftmax(c.row(y, n), c.Temperature), logSoftmax(c.row(f, n), c.Temperature)
		for k := range p {
			sum += math.Exp(p[k]) * (p[k] - q[k])
		}
		return sum
	})
}

func (c *call) kdGrad() {
	f, y, df := c.Real(0), c.Real(1), c.Real(2)
	for n := range c.Groups * c.N {
		p, q := logSoftmax(c.row(y, n), c.Temperature), logSoftmax(c.row(f, n), c.Temperature)
		for k := range p {
			df[n*c.K+k] = c.Scale * c.Temperature * (math.Exp(q[k]) - math.Exp(p[k]))
		}
	}
}

func (c *call) ceForward() {
	f, labels := c.Real(0), c.Int(1)
	c.sums(c.Scale, func(n int) float64 { return -logSoftmax(c.row(f, n), 1)[labels[n]] })
}

func (c *call) ceGrad() {
	f, labels, df := c.Real(0), c.Int(1), c.Real(2)
	for n := range c.Groups * c.N {
		for k, q := range logSoftmax(c.row(f, n), 1) {
			p := 0.0
			if k == int(labels[n]) {
				p = 1
			}
			df[n*c.K+k] = c.Scale * (math.Exp(q) - p)
		}
	}
}

func (c *call) correct() {
	f, labels := c.Real(0), c.Int(1)
	c.sums(1, func(n int) float64 {
		best, row := 0, c.row(f, n)
		for k, v := range row {
			if math.IsNaN(v) {
				return 0
			}
			if v > row[best] {
				best = k
			}
		}
		if best != int(labels[n]) {
			return 0
		}
		return 1
	})
}
