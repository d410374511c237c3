package cpu

import (
	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// The noises are those of package noise, bit for bit (docs/random.md): the sum in float64, rounded once.

func planGaussianNoise(k *prepared) {
	k.addRows(20, func(n int) {
		y, noisy := vectorOf(k.Real(0), n, k.K), vectorOf(k.Real(3), n, k.K)
		var z [4]float64
		for l, v := range y {
			if l%4 == 0 {
				z = elementary.Normals(k.draw(philox.Gaussian, n, l/4))
			}
			noisy[l] = float32(float64(v) + float64(k.Scale*z[l%4]))
		}
	})
}

func planSymmetricNoise(k *prepared) {
	k.addRows(20, func(n int) {
		y, noisy := vectorOf(k.Real(0), n, k.K), vectorOf(k.Real(3), n, k.K)
		for l := range y {
			w, from := k.draw(philox.Symmetric, n, l), l
			if philox.Unit(w[0], w[1]) < k.Scale {
				if from = int(philox.Below(w[2], w[3], uint32(k.K-1))); from >= l {
					from++
				}
			}
			noisy[l] = y[from]
		}
	})
}

// draw is a block of the draws of image n.
func (k *prepared) draw(p philox.Purpose, n, index int) [4]uint32 {
	return philox.At(k.Seed, p, uint32(k.Int(2)[0]), uint32(k.Int(1)[n]), uint32(index))
}
