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
	if k.winogradFits() {
		k.planWinograd(source, writer, w)
		return
	}
	k.planDirect(source, writer, w)
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
		x.repeat = k.Repeats()
		k.planDirectSquares(x, dy, next)
	}
}

// addSquares adds a step that computes each image's gradient, of width elements, and adds its squares to argument q. They are summed as vector.Sums does, lanes at last by halves.
func (k *prepared) addSquares(work, place, width, q int, gradient func(worker, g, n int, dw []float32)) {
	own := k.reserve(k.pool.threads * 9 * lanes)
	k.addBlocks(work, func(worker, g, n int) {
		dw := k.workspace(place+worker*width, width)
		gradient(worker, g, n, dw)
		acc := k.workspace(own+worker*9*lanes, 9*lanes)
		clear(acc)
		k.v.Sums(&dw[0], &acc[8*lanes], &acc[0], width/lanes)
		k.total(acc[:8*lanes])
		k.Real(q)[n] += byHalves(acc[4*lanes : 5*lanes])
	})
}
