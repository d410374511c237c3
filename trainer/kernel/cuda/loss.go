//go:build gpu

package cuda

// addLoss adds the sum of the images' losses, by the kernel of that name, times scale.
func (k *prepared) addLoss(name string, scale float64, params ...any) {
	m := k.images()
	images := k.reserve(2 * m) // float64
	k.add(name, m, append([]any{k.arg(0), k.arg(1), images, m, k.K}, params...)...)
	k.add("loss_sum", k.Groups, images, k.arg(2), k.Groups, k.N, k.stride(2), scale)
}

// addLossGrad adds the gradient, a thread a logit.
func (k *prepared) addLossGrad(name string, params ...any) {
	n := k.images() * k.K
	k.add(name, n, append([]any{k.arg(0), k.arg(1), k.arg(2), n}, params...)...)
}

func planQuadraticForward(k *prepared) { k.addLoss("quadratic_images", k.Scale/2) }
func planQuadraticGrad(k *prepared)    { k.addLossGrad("quadratic_grad", float32(k.Scale)) }

func planKDForward(k *prepared) {
	k.addLoss("kd_images", k.Scale*k.Temperature*k.Temperature, k.Temperature)
}
func planKDGrad(k *prepared) {
	k.addLossGrad("kd_grad", k.K, k.Temperature, k.Scale*k.Temperature)
}

func planCEForward(k *prepared) { k.addLoss("ce_images", k.Scale) }
func planCEGrad(k *prepared)    { k.addLossGrad("ce_grad", k.K, k.Scale) }
func planCorrect(k *prepared)   { k.addLoss("correct_images", 1) }
