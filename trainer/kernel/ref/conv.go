package ref

// taps calls f for every (output pixel, window element) whose input pixel is inside the image: o and i are offsets in a plane of the output and of the input.
func (c *call) taps(f func(o, i, rs int)) {
	ho, wo, pad := c.OutH(), c.OutW(), c.R/2
	for oy := range ho {
		for ox := range wo {
			for r := range c.R {
				for s := range c.R {
					y, x := oy*c.Stride+r-pad, ox*c.Stride+s-pad
					if y >= 0 && y < c.H && x >= 0 && x < c.W {
						f(oy*wo+ox, y*c.W+x, r*c.R+s)
					}
				}
			}
		}
	}
}

func (c *call) planes() (in, out int) { return c.H * c.W, c.OutH() * c.OutW() }

func (c *call) convForward() {
	x, w, y := c.Real(0), c.Real(1), c.Real(2)
	in, out := c.planes()
	clear(y)
	for n := range c.Groups * c.N {
		for k := range c.K {
			for ch := range c.C {
				c.taps(func(o, i, rs int) { y[(n*c.K+k)*out+o] += x[(n*c.C+ch)*in+i] * w[(k*c.C+ch)*c.R*c.R+rs] })
			}
		}
	}
}

func (c *call) convDataGrad() {
	dy, w, dx := c.Real(0), c.Real(1), c.Real(2)
	in, out := c.planes()
	clear(dx)
	for n := range c.Groups * c.N {
		for k := range c.K {
			for ch := range c.C {
				c.taps(func(o, i, rs int) { dx[(n*c.C+ch)*in+i] += dy[(n*c.K+k)*out+o] * w[(k*c.C+ch)*c.R*c.R+rs] })
			}
		}
	}
}

// imageWeightGrad adds the weight gradient of image n to dw.
func (c *call) imageWeightGrad(n int, dw []float64) {
	x, dy := c.Real(0), c.Real(1)
	in, out := c.planes()
	image := x[c.forward(n)*c.C*in:]
	for k := range c.K {
		for ch := range c.C {
			c.taps(func(o, i, rs int) { dw[(k*c.C+ch)*c.R*c.R+rs] += dy[(n*c.K+k)*out+o] * image[ch*in+i] })
		}
	}
}

func (c *call) convWeightGrad() {
	for g := range c.Groups {
		dw := c.Part(2, g)
		clear(dw)
		for n := range c.N {
			c.imageWeightGrad(g*c.N+n, dw)
		}
	}
}

func (c *call) convSquares() {
	for n, q := 0, c.Real(2); n < len(q); n++ {
		dw := make([]float64, c.K*c.C*c.R*c.R)
		c.imageWeightGrad(n, dw)
		q[n] += square(dw)
	}
}

func square(v []float64) (sum float64) {
	for _, x := range v {
		sum += x * x
	}
	return sum
}
