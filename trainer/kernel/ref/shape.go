package ref

func (c *call) view() {
	pixels, geometry, mean, std, x := c.Byte(0), c.Int(1), c.Real(2), c.Real(3), c.Real(4)
	for n := range c.Groups * c.N {
		dy, dx, flip := int(geometry[3*n]), int(geometry[3*n+1]), geometry[3*n+2] != 0
		for ch := range c.C {
			plane := (n*c.C + ch) * c.H * c.W
			for row := range c.H {
				for col := range c.W {
					from := col
					if flip {
						from = c.W - 1 - col
					}
					y, xx := row+dy-c.Pad, from+dx-c.Pad
					v := 0.0
					if y >= 0 && y < c.H && xx >= 0 && xx < c.W {
						v = (float64(pixels[plane+y*c.W+xx])/255 - mean[ch]) / std[ch]
					}
					x[plane+row*c.W+col] = v
				}
			}
		}
	}
}

// taken calls f for every element that the shortcut takes: o and i are offsets in the output and the input.
func (c *call) taken(f func(o, i int)) {
	ho, wo, front := c.OutH(), c.OutW(), (c.K-c.C)/2
	for n := range c.Groups * c.N {
		for ch := range c.C {
			for oy := range ho {
				for ox := range wo {
					f(((n*c.K+front+ch)*ho+oy)*wo+ox, ((n*c.C+ch)*c.H+oy*c.Stride)*c.W+ox*c.Stride)
				}
			}
		}
	}
}

func (c *call) shortcutForward() {
	x, y := c.Real(0), c.Real(1)
	clear(y)
	c.taken(func(o, i int) { y[o] = x[i] })
}

func (c *call) shortcutGrad() {
	dy, dx := c.Real(0), c.Real(1)
	clear(dx)
	c.taken(func(o, i int) { dx[i] = dy[o] })
}

func (c *call) poolForward() {
	x, y := c.Real(0), c.Real(1)
	plane := c.H * c.W
	for i := range y {
		sum := 0.0
		for _, v := range x[i*plane : (i+1)*plane] {
			sum += v
		}
		y[i] = sum / float64(plane)
	}
}

func (c *call) poolGrad() {
	dy, dx := c.Real(0), c.Real(1)
	plane := c.H * c.W
	for i := range dx {
		dx[i] = dy[i/plane] / float64(plane)
	}
}

// flatten, and back: the two are the same in blocks of one channel.
func (c *call) flatten() { copy(c.Real(1), c.Real(0)) }
