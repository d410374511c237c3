package ref

func (c *call) relu() {
	x, y := c.Real(0), c.Real(1)
	for i, v := range x {
		if v < 0 { // false for NaN, which so stays
			v = 0
		}
		y[i] = v
	}
}

func (c *call) reluGrad() {
	dy, y, dx := c.Real(0), c.Real(1), c.Real(2)
	image := c.C * c.H * c.W
	for i, v := range dy {
		if !(y[c.forward(i/image)*image+i%image] > 0) {
			v = 0
		}
		dx[i] = v
	}
}

func (c *call) add() {
	a, b, y := c.Real(0), c.Real(1), c.Real(2)
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func (c *call) zero() { clear(c.Real(0)) }

func (c *call) gather() {
	x, y := c.Real(0), c.Real(2)
	for i, from := range c.Int(1) {
		if y[i] = 0; from >= 0 {
			y[i] = x[from]
		}
	}
}

func (c *call) oneHot() {
	df := c.Real(0)
	clear(df)
	for i := range c.Groups * c.N {
		df[i*c.K+i%c.K] = 1
	}
}

func (c *call) sgd() {
	theta, v, g, lr := c.Real(0), c.Real(1), c.Real(2), c.Real(3)[0]
	for i := range theta {
		v[i] = c.Momentum*v[i] + (g[i] + c.WeightDecay*theta[i])
		theta[i] -= lr * v[i]
	}
}

func (c *call) runningAverage() {
	r, s := c.Real(0), c.Real(1)
	for i := range r {
		r[i] = (1-c.Momentum)*r[i] + c.Momentum*(c.Scale*s[i])
	}
}
