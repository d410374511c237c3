package vector

import (
	"math"
	"unsafe"
)

// relu is +0 where v < 0 and v elsewhere. The bits of every v < 0, -Inf and denormals too, and of nothing else: signs of activations can't be predicted, so no branch.
func relu(v float32) float32 {
	bits := math.Float32bits(v)
	if bits-0x80000001 <= 0x7F7FFFFF {
		bits = 0
	}
	return math.Float32frombits(bits)
}

// where is v where y > 0 and +0 elsewhere: the bits of every y > 0 are 1 to those of +Inf.
func where(y, v float32) float32 {
	bits := math.Float32bits(v)
	if math.Float32bits(y)-1 >= 0x7F800000 {
		bits = 0
	}
	return math.Float32frombits(bits)
}

func norm(y, x, scale, shift *float32, n int) {
	a, b := at(scale, 0), at(shift, 0)
	for i := range n {
		out, in := at(y, i*Lanes), at(x, i*Lanes)
		for l, v := range in {
			out[l] = fma(v, a[l], b[l])
		}
	}
}

func normReLU(y, x, scale, shift *float32, n int) {
	a, b := at(scale, 0), at(shift, 0)
	for i := range n {
		out, in := at(y, i*Lanes), at(x, i*Lanes)
		for l, v := range in {
			out[l] = relu(fma(v, a[l], b[l]))
		}
	}
}

func normAddReLU(y, z, x, r, scale, shift *float32, n int) {
	a, b := at(scale, 0), at(shift, 0)
	for i := range n {
		out, copied, in, other := at(y, i*Lanes), at(z, i*Lanes), at(x, i*Lanes), at(r, i*Lanes)
		for l, v := range in {
			s := relu(fma(v, a[l], b[l]) + other[l])
			out[l], copied[l] = s, s
		}
	}
}

func normGrad(dx, dy, x, scale, slope, shift *float32, n int) {
	a, b, c := at(scale, 0), at(slope, 0), at(shift, 0)
	for i := range n {
		out, d, in := at(dx, i*Lanes), at(dy, i*Lanes), at(x, i*Lanes)
		for l, v := range in {
			out[l] = fma(d[l], a[l], fma(v, b[l], c[l]))
		}
	}
}

func scaleRows(y, x, scale *float32, n int) {
	a := at(scale, 0)
	for i := range n {
		out, in := at(y, i*Lanes), at(x, i*Lanes)
		for l, v := range in {
			out[l] = v * a[l]
		}
	}
}

// accumulators are those that pixel i goes to: of the first sum and of the second.
func accumulators(acc *float32, i int) (first, second *lane) {
	return at(acc, i%4*Lanes), at(acc, (4+i%4)*Lanes)
}

func sums(x, shift, acc *float32, n int) {
	b := at(shift, 0)
	for i := range n {
		in := at(x, i*Lanes)
		s, q := accumulators(acc, i)
		for l, v := range in {
			d := v - b[l]
			s[l] += d
			q[l] = fma(d, d, q[l])
		}
	}
}

func gradSums(dy, x, mean, acc *float32, n int) {
	b := at(mean, 0)
	for i := range n {
		d, in := at(dy, i*Lanes), at(x, i*Lanes)
		s, q := accumulators(acc, i)
		for l, v := range in {
			s[l] += d[l]
			q[l] = fma(d[l], v-b[l], q[l])
		}
	}
}

func normReLUGradSums(g, dy, x, scale, shift, mean, acc *float32, n int) {
	a, b := at(scale, 0), at(shift, 0)
	for i := range n {
		out, d, in := at(g, i*Lanes), at(dy, i*Lanes), at(x, i*Lanes)
		for l, v := range in {
			out[l] = where(fma(v, a[l], b[l]), d[l])
		}
	}
	gradSums(g, x, mean, acc, n)
}

func addReLUGradSums(g, dy, r, z, x, mean, acc *float32, n int) {
	for i := range n {
		out, d, other, y := at(g, i*Lanes), at(dy, i*Lanes), at(r, i*Lanes), at(z, i*Lanes)
		for l := range out {
			out[l] = where(y[l], d[l]+other[l])
		}
	}
	gradSums(g, x, mean, acc, n)
}

func add(y, a, b *float32, n int) {
	out, left, right := unsafe.Slice(y, n), unsafe.Slice(a, n), unsafe.Slice(b, n)
	for i, v := range left {
		out[i] = v + right[i]
	}
}

func reluAll(y, x *float32, n int) {
	out := unsafe.Slice(y, n)
	for i, v := range unsafe.Slice(x, n) {
		out[i] = relu(v)
	}
}

func reluGrad(dx, dy, y *float32, n int) {
	out, in := unsafe.Slice(dx, n), unsafe.Slice(dy, n)
	for i, v := range unsafe.Slice(y, n) {
		out[i] = where(v, in[i])
	}
}

func sgd(theta, v, g *float32, n int, momentum, decay, lr float32) {
	t, m := unsafe.Slice(theta, n), unsafe.Slice(v, n)
	for i, d := range unsafe.Slice(g, n) {
		m[i] = fma(momentum, m[i], fma(decay, t[i], d))
		t[i] = fma(-lr, m[i], t[i])
	}
}

func average(r, s *float32, n int, keep, take, scale float32) {
	out := unsafe.Slice(r, n)
	for i, v := range unsafe.Slice(s, n) {
		out[i] = fma(keep, out[i], float32(take*float32(scale*v)))
	}
}
