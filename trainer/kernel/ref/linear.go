package ref

func (c *call) linearForward() {
	x, w, b, y := c.Real(0), c.Real(1), c.Real(2), c.Real(3)
	for n := range c.Groups * c.N {
		for k := range c.K {
			sum := 0.0
			for ch := range c.C {
				sum += x[n*c.C+ch] * w[k*c.C+ch]
			}
			y[n*c.K+k] = sum + b[k]
		}
	}
}

func (c *call) linearDataGrad() {
	dy, w, dx := c.Real(0), c.Real(1), c.Real(2)
	for n := range c.Groups * c.N {
		for ch := range c.C {
			sum := 0.0
			for k := range c.K {
				sum += dy[n*c.K+k] * w[k*c.C+ch]
			}
			dx[n*c.C+ch] = sum
		}
	}
}

func (c *call) linearWeightGrad() {
	x, dy := c.Real(0), c.Real(1)
	for g := range c.Groups {
		dw := c.Part(2, g)
		clear(dw)
		for n := g * c.N; n < (g+1)*c.N; n++ {
			for k := range c.K {
				for ch := range c.C {
					dw[k*c.C+ch] += dy[n*c.K+k] * x[n*c.C+ch]
				}
			}
		}
	}
}

func (c *call) linearBiasGrad() {
	dy := c.Real(0)
	for g := range c.Groups {
		db := c.Part(1, g)
		clear(db)
		for n := g * c.N; n < (g+1)*c.N; n++ {
			for k := range c.K {
				db[k] += dy[n*c.K+k]
			}
		}
	}
}

func (c *call) linearSquares() {
	x, dy, q := c.Real(0), c.Real(1), c.Real(2)
	for n := range q {
		image := x[c.forward(n)*c.C:]
		for k := range c.K {
			d := dy[n*c.K+k]
			for ch := range c.C {
				q[n] += d * image[ch] * d * image[ch]
			}
			q[n] += d * d
		}
	}
}
