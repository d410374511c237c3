package cpu

import "github.com/dither-ml/dither/trainer/kernel"

// The convolutions: what is fused to them, then the way that fits their shapes.

func planConvForward(k *prepared) { k.planPass(k.input(), k.output()) }

func planConvDataGrad(k *prepared) { k.planPass(k.output(), k.input()) }

// forward says whether the pass goes forward; a data gradient is the same pass the other way, with the filters backwards.
func (k *prepared) forward() bool { return k.Kind == kernel.ConvForward }

// planPass plans a forward pass or a data gradient from the activation in to out.
func (k *prepared) planPass(in, out activation) {
	source, w := k.newReader(k.Before, in, 0, 1)
	y := w
	for k.Args[y].Access == kernel.In {
		y++
	}
	if k.Before == kernel.NormAddReLU {
		source.z = y
		y++
	}
	writer := k.newWriter(out, w+1, y)
	var x *reader
	if k.Beside == kernel.WeightGrad {
		x, _ = k.newReader(k.Input, k.input(), w+1+writer.reads(), 1)
	}
	dw := len(k.Args) - 1
	switch {
	case !k.winogradFits():
		k.planDirect(source, writer, w)
		if x != nil {
			k.planDirectWeight(x, source, dw)
		}
	case x != nil:
		k.planWinograd(source, writer, w, k.newWinogradWeight(x, source), dw)
	default:
		k.planWinograd(source, writer, w, nil, 0)
	}
}

func planConvWeightGrad(k *prepared) {
	x, next := k.newReader(k.Input, k.input(), 0, 1)
	dy, next := k.newReader(k.Before, k.output(), next, 1)
	if k.winogradFits() {
		k.planWinogradWeight(x, dy, next)
		return
	}
	k.planDirectWeight(x, dy, next)
}

func planConvSquares(k *prepared) {
	x, next := k.newReader(k.Input, k.input(), 0, 1)
	dy, next := k.newReader(k.Before, k.output(), next, 1)
	switch {
	case k.ghostFits():
		k.planGhostSquares(x, dy, next)
	case k.winogradFits():
		k.planWinogradSquares(x, dy, next)
	default:
		k.planDirectSquares(x, dy, next)
	}
}

// addSquares adds a step that adds the squares of the gradient of each image of dy to argument q. An image is a unit: there are few of them when there are many functions.
func (k *prepared) addSquares(q, work int, squares func(worker, g, n int) float32) {
	k.add(k.Groups*k.N, k.Groups*k.N*work, func(worker, n int) { k.Real(q)[n] += squares(worker, n/k.N, n) })
}
