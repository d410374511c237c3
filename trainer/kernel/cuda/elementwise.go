//go:build gpu

package cuda

func planReLU(k *prepared) { k.add("relu", k.Len(), k.arg(0), k.arg(1), k.Len()) }

func planReLUGrad(k *prepared) {
	k.add("relu_grad", k.Len(), k.arg(0), k.arg(1), k.arg(2), k.Len(), k.Len()/k.images(), k.Repeats())
}

func planAdd(k *prepared) { k.add("add", k.Len(), k.arg(0), k.arg(1), k.arg(2), k.Len()) }

func planZero(k *prepared) { k.add("zero", k.Len(), k.arg(0), k.Len()) }

func planGather(k *prepared) { k.add("gather", k.K, k.arg(0), k.arg(1), k.arg(2), k.K) }

func planOneHot(k *prepared) {
	n := k.images() * k.K
	k.add("one_hot", n, k.arg(0), n, k.K)
}

func planSGD(k *prepared) {
	k.add("sgd", k.Len(), k.arg(0), k.arg(1), k.arg(2), k.arg(3), k.Len(), float32(k.Momentum), float32(k.WeightDecay))
}

func planRunningAverage(k *prepared) {
	k.add("running_average", k.Len(), k.arg(0), k.arg(1), k.Len(), float32(1-k.Momentum), float32(k.Momentum), float32(k.Scale))
}
