package cpu

import "math"

// chunk is the elements of a unit of elementwise work.
const chunk = 16384

// addElements adds a step over n elements, in chunks.
func (k *prepared) addElements(n int, run func(from, to int)) {
	k.add(ceil(n, chunk), n, func(_, unit int) { run(unit*chunk, min((unit+1)*chunk, n)) })
}

func planReLU(k *prepared) {
	k.addElements(k.Len(), func(from, to int) {
		y := k.Real(1)[from:to]
		for i, v := range k.Real(0)[from:to] {
			// The bits of every v < 0, -Inf and denormals too, and of nothing else: signs of activations can't be predicted, so no branch.
			bits := math.Float32bits(v)
			if bits-0x80000001 <= 0x7F7FFFFF {
				bits = 0
			}
			y[i] = math.Float32frombits(bits)
		}
	})
}

func planReLUGrad(k *prepared) {
	k.addElements(k.Len(), func(from, to int) {
		dx, y := k.Real(2)[from:to], k.Real(1)[from:to]
		for i, v := range k.Real(0)[from:to] {
			// The bits of every y > 0 are 1 to those of +Inf.
			bits := math.Float32bits(v)
			if math.Float32bits(y[i])-1 >= 0x7F800000 {
				bits = 0
			}
			dx[i] = math.Float32frombits(bits)
		}
	})
}

func planAdd(k *prepared) {
	k.addElements(k.Len(), func(from, to int) {
		y, b := k.Real(2)[from:to], k.Real(1)[from:to]
		for i, v := range k.Real(0)[from:to] {
			y[i] = v + b[i]
		}
	})
}

func planZero(k *prepared) {
	k.addElements(k.Len(), func(from, to int) { clear(k.Real(0)[from:to]) })
}

func planOneHot(k *prepared) {
	k.add(1, k.Groups*k.N*k.K, func(_, _ int) {
		df := k.Real(0)
		clear(df)
		for i := k.Class; i < len(df); i += k.K {
			df[i] = 1
		}
	})
}

func planSGD(k *prepared) {
	momentum, decay := float32(k.Momentum), float32(k.WeightDecay)
	k.addElements(k.Len(), func(from, to int) {
		theta, v, lr := k.Real(0)[from:to], k.Real(1)[from:to], k.Real(3)[0]
		for i, g := range k.Real(2)[from:to] {
			v[i] = float32(momentum*v[i]) + (g + float32(decay*theta[i]))
			theta[i] -= float32(lr * v[i])
		}
	})
}

func planRunningAverage(k *prepared) {
	keep, take, scale := float32(1-k.Momentum), float32(k.Momentum), float32(k.Scale)
	k.addElements(k.Len(), func(from, to int) {
		r := k.Real(0)[from:to]
		for i, s := range k.Real(1)[from:to] {
			r[i] = float32(keep*r[i]) + float32(take*float32(scale*s))
		}
	})
}
