//go:build gpu

package cuda

// vector is the numbers that a thread does at a time: 16 bytes.
const vector = 8

// vectors are those of the op's input.
func (k *prepared) vectors() int { return k.Len() / vector }

func planHalfReLU(k *prepared) {
	k.add("half_relu_forward", k.vectors(), k.arg(0), k.arg(1), k.vectors())
}

func planHalfReLUGrad(k *prepared) {
	k.add("half_relu_grad", k.vectors(), k.arg(0), k.arg(1), k.arg(2), k.vectors(), k.vectors()/k.images(), k.Repeats())
}

func planHalfAdd(k *prepared) {
	k.add("half_add_forward", k.vectors(), k.arg(0), k.arg(1), k.arg(2), k.vectors())
}

func planHalfZero(k *prepared) { k.add("half_zero", k.vectors(), k.arg(0), k.vectors()) }

func planHalfGather(k *prepared) { k.add("half_gather", k.K, k.arg(0), k.arg(1), k.arg(2), k.K) }
