//go:build gpu

package cuda

import "github.com/dither-ml/dither/noise/philox"

// addNoise adds the noise of that name: a thread draws one block, which is good for so many logits of an image.
func (k *prepared) addNoise(name string, purpose philox.Purpose, logits int) {
	blocks := ceil(k.K, logits)
	n := k.images() * blocks
	k.add(name, n, k.arg(0), k.arg(1), k.arg(2), k.arg(3), n, k.K, int(uint32(k.Seed)), int(k.Seed>>32), int(purpose), k.Scale)
}

func planGaussianNoise(k *prepared)  { k.addNoise("gaussian_noise", philox.Gaussian, 4) }
func planSymmetricNoise(k *prepared) { k.addNoise("symmetric_noise", philox.Symmetric, 1) }
