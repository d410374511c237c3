package vector

import "unsafe"

func addElements(y, a, b *float32, n int) {
	out, left, right := unsafe.Slice(y, n), unsafe.Slice(a, n), unsafe.Slice(b, n)
	for i := range out {
		out[i] = left[i] + right[i]
	}
}

func reluElements(y, x *float32, n int) {
	out, in := unsafe.Slice(y, n), unsafe.Slice(x, n)
	for i := range out {
		out[i] = rectified(in[i])
	}
}

func reluGrad(dx, dy, y *float32, n int) {
	out, in, value := unsafe.Slice(dx, n), unsafe.Slice(dy, n), unsafe.Slice(y, n)
	for i := range out {
		out[i] = passed(value[i], in[i])
	}
}

func sgd(theta, v, g *float32, n int, momentum, decay, lr float32) {
	thetas, velocities, grads := unsafe.Slice(theta, n), unsafe.Slice(v, n), unsafe.Slice(g, n)
	for i := range thetas {
		velocities[i] = fma(momentum, velocities[i], fma(decay, thetas[i], grads[i]))
		thetas[i] = fma(-lr, velocities[i], thetas[i])
	}
}

func average(r, s *float32, n int, keep, take, scale float32) {
	averages, sums := unsafe.Slice(r, n), unsafe.Slice(s, n)
	for i := range averages {
		averages[i] = fma(keep, averages[i], float32(take*float32(scale*sums[i])))
	}
}
