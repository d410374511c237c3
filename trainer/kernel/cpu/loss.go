package cpu

import "github.com/dither-ml/dither/noise/elementary"

// Losses and softmax are computed in float64 and rounded at the end: logits are few, and what is small beside them counts.

// softmax is what one row's softmax(v/temperature) needs: e_k = exp(v_k/temperature - most), sum of all e.
type softmax struct {
	v                      []float32
	temperature, most, sum float64
}

func newSoftmax(v []float32, temperature float64) softmax {
	s := softmax{v: v, temperature: temperature, most: float64(v[0]) / temperature}
	for k := range v {
		s.most = max(s.most, s.logit(k))
	}
	for k := range v {
		s.sum += s.exp(k)
	}
	return s
}

func (s *softmax) logit(k int) float64       { return float64(s.v[k]) / s.temperature }
func (s *softmax) exp(k int) float64         { return elementary.Exp(s.logit(k) - s.most) }
func (s *softmax) probability(k int) float64 { return s.exp(k) / s.sum }
func (s *softmax) log(k int) float64         { return s.logit(k) - s.most - elementary.Log(s.sum) }

// addLoss adds a step: scale times the sum over a group's images into the third argument.
func (k *prepared) addLoss(scale float64, loss func(n int) float64) {
	block := func(unit int) (sum float64) {
		_, from, to := k.block(unit)
		for n := from; n < to; n++ {
			sum += loss(n)
		}
		return sum
	}
	k.add(k.Groups, 50*k.Groups*k.N*k.K, func(_, g int) {
		sum := tree64(g*k.imageBlocks(), (g+1)*k.imageBlocks(), block)
		k.Part(2, g)[0] = float32(scale * sum)
	})
}

// addRows adds a step over images, in blocks.
func (k *prepared) addRows(cost int, run func(n int)) {
	k.add(k.Groups*k.imageBlocks(), cost*k.Groups*k.N*k.K, func(_, unit int) {
		_, from, to := k.block(unit)
		for n := from; n < to; n++ {
			run(n)
		}
	})
}

func planQuadraticForward(k *prepared) {
	k.addLoss(k.Scale/2, func(n int) (sum float64) {
		y := vectorOf(k.Real(1), n, k.K)
		for i, f := range vectorOf(k.Real(0), n, k.K) {
			d := float64(f) - float64(y[i])
			sum += float64(d * d)
		}
		return sum
	})
}

func planQuadraticGrad(k *prepared) {
	scale := float32(k.Scale)
	k.addRows(1, func(n int) {
		y, df := vectorOf(k.Real(1), n, k.K), vectorOf(k.Real(2), n, k.K)
		for i, f := range vectorOf(k.Real(0), n, k.K) {
			df[i] = float32(scale * (f - y[i]))
		}
	})
}

func planKDForward(k *prepared) {
	k.addLoss(k.Scale*k.Temperature*k.Temperature, func(n int) (sum float64) {
		f, y := newSoftmax(vectorOf(k.Real(0), n, k.K), k.Temperature), newSoftmax(vectorOf(k.Real(1), n, k.K), k.Temperature)
		for i := range k.K {
			sum += float64(y.probability(i) * (y.log(i) - f.log(i)))
		}
		return sum
	})
}

func planKDGrad(k *prepared) {
	scale := k.Scale * k.Temperature
	k.addRows(100, func(n int) {
		f, y := newSoftmax(vectorOf(k.Real(0), n, k.K), k.Temperature), newSoftmax(vectorOf(k.Real(1), n, k.K), k.Temperature)
		df := vectorOf(k.Real(2), n, k.K)
		for i := range df {
			df[i] = float32(scale * (f.probability(i) - y.probability(i)))
		}
	})
}

func planCEForward(k *prepared) {
	k.addLoss(k.Scale, func(n int) float64 {
		f := newSoftmax(vectorOf(k.Real(0), n, k.K), 1)
		return -f.log(int(k.Int(1)[n]))
	})
}

func planCEGrad(k *prepared) {
	k.addRows(50, func(n int) {
		f := newSoftmax(vectorOf(k.Real(0), n, k.K), 1)
		df := vectorOf(k.Real(2), n, k.K)
		for i := range df {
			p := f.probability(i)
			if i == int(k.Int(1)[n]) {
				p--
			}
			df[i] = float32(k.Scale * p)
		}
	})
}

func planCorrect(k *prepared) {
	k.addLoss(1, func(n int) float64 {
		f, best := vectorOf(k.Real(0), n, k.K), 0
		for i, v := range f {
			if v != v {
				return 0
			}
			if v > f[best] {
				best = i
			}
		}
		if best != int(k.Int(1)[n]) {
			return 0
		}
		return 1
	})
}
