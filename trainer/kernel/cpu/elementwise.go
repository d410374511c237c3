package cpu

// chunk is the elements of a unit of elementwise work.
const chunk = 16384

// addElements adds a step over n elements, in chunks: run goes from one on for so many.
func (k *prepared) addElements(n int, run func(from, n int)) {
	k.add(ceil(n, chunk), n/8, func(_, unit int) { run(unit*chunk, min(chunk, n-unit*chunk)) })
}

func planReLU(k *prepared) {
	k.addElements(k.Len(), func(i, n int) { k.v.ReLU(&k.Real(1)[i], &k.Real(0)[i], n) })
}

func planReLUGrad(k *prepared) {
	if k.Repeats() == 1 {
		k.addElements(k.Len(), func(i, n int) { k.v.ReLUGrad(&k.Real(2)[i], &k.Real(0)[i], &k.Real(1)[i], n) })
		return
	}
	image := k.Len() / (k.Groups * k.N)
	k.addBlocks(k.Len()/8, func(_, _, n int) {
		k.v.ReLUGrad(&k.Real(2)[n*image], &k.Real(0)[n*image], &k.Real(1)[n/k.Repeats()*image], image)
	})
}

func planAdd(k *prepared) {
	k.addElements(k.Len(), func(i, n int) { k.v.Add(&k.Real(2)[i], &k.Real(0)[i], &k.Real(1)[i], n) })
}

func planZero(k *prepared) {
	k.addElements(k.Len(), func(i, n int) { clear(k.Real(0)[i : i+n]) })
}

func planGather(k *prepared) {
	k.addElements(k.K, func(i, n int) {
		x, y := k.Real(0), k.Real(2)[i:i+n]
		for j, from := range k.Int(1)[i : i+n] {
			if y[j] = 0; from >= 0 {
				y[j] = x[from]
			}
		}
	})
}

func planOneHot(k *prepared) {
	k.add(1, k.Groups*k.N*k.K, func(_, _ int) {
		df := k.Real(0)
		clear(df)
		for n := range k.Groups * k.N {
			df[n*k.K+n%k.K] = 1
		}
	})
}

func planSGD(k *prepared) {
	momentum, decay := float32(k.Momentum), float32(k.WeightDecay)
	k.addElements(k.Len(), func(i, n int) {
		k.v.SGD(&k.Real(0)[i], &k.Real(1)[i], &k.Real(2)[i], n, momentum, decay, k.Real(3)[0])
	})
}

func planRunningAverage(k *prepared) {
	keep, take, scale := float32(1-k.Momentum), float32(k.Momentum), float32(k.Scale)
	k.addElements(k.Len(), func(i, n int) { k.v.Average(&k.Real(0)[i], &k.Real(1)[i], n, keep, take, scale) })
}
