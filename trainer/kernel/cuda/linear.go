//go:build gpu

package cuda

func planLinearForward(k *prepared) {
	n := k.images() * k.K
	k.add("linear_forward", n, k.arg(0), k.arg(1), k.arg(2), k.arg(3), n, k.C, k.K)
}

func planLinearDataGrad(k *prepared) {
	n := k.images() * k.C
	k.add("linear_data_grad", n, k.arg(0), k.arg(1), k.arg(2), n, k.C, k.K)
}

func planLinearWeightGrad(k *prepared) {
	n := k.Groups * k.K * k.C
	k.add("linear_weight_grad", n, k.arg(0), k.arg(1), k.arg(2), n, k.N, k.C, k.K, k.stride(2))
}

func planLinearBiasGrad(k *prepared) {
	n := k.Groups * k.K
	k.add("linear_bias_grad", n, k.arg(0), k.arg(1), n, k.N, k.K, k.stride(1))
}

func planLinearSquares(k *prepared) {
	k.add("linear_squares", k.images(), k.arg(0), k.arg(1), k.arg(2), k.images(), k.C, k.K, k.Repeats())
}
