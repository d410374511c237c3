package ref

import (
	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

func (c *call) gaussianNoise() {
	y, noisy := c.Real(0), c.Real(3)
	for i := range y {
		z := elementary.Normals(c.draw(philox.Gaussian, i/c.K, i%c.K/4))
		noisy[i] = y[i] + c.Scale*z[i%c.K%4]
	}
}

func (c *call) symmetricNoise() {
	y, noisy := c.Real(0), c.Real(3)
	for i := range y {
		w, from := c.draw(philox.Symmetric, i/c.K, i%c.K), i%c.K
		if philox.Unit(w[0], w[1]) < c.Scale {
			if from = int(philox.Below(w[2], w[3], uint32(c.K-1))); from >= i%c.K {
				from++
			}
		}
		noisy[i] = y[i-i%c.K+from]
	}
}

// draw is a block of the draws of image n.
func (c *call) draw(p philox.Purpose, n, index int) [4]uint32 {
	return philox.At(c.Seed, p, uint32(c.Int(2)[0]), uint32(c.Int(1)[n]), uint32(index))
}
