package cpu

import "github.com/dither-ml/dither/trainer/kernel"

// writer takes a convolution's output, rows of it at a time, and does what is fused behind it (Op.After).
type writer struct {
	*prepared
	activation
	kind         kernel.Fusion
	y            int // the output's argument
	others       int // the first argument that After reads
	results      int // the first argument that After makes, behind y
	coefficients int // place in the workspace of scale and shift: per group [2][padded]
	constants    int // of mean, or what is taken off: per group [padded]
	parts        int // of the blocks' sums: [units][2][padded]
	accumulators int // of each worker's: [blocks][2][4][lanes]
}

// newWriter takes what After reads from argument `others` on, and the output y; its results stand behind y.
func (k *prepared) newWriter(a activation, others, y int) *writer {
	w := &writer{prepared: k, activation: a, kind: k.After, y: y, others: others, results: y + 1}
	if w.kind == kernel.Alone {
		return w
	}
	w.coefficients = k.reserve(k.Groups * 2 * a.padded())
	w.constants = k.reserve(k.Groups * a.padded())
	w.parts = k.reserve(k.Groups * k.imageBlocks() * 2 * a.padded())
	w.accumulators = k.reserve(k.pool.threads * w.state())
	k.add(k.Groups, k.Groups*a.padded(), func(_, g int) { w.prepare(g) })
	return w
}

// reads is how many arguments After reads.
func (w *writer) reads() int {
	return map[kernel.Fusion]int{kernel.Stats: 1, kernel.Sums: 1, kernel.ReLUNormSums: 5, kernel.ReLUNormSquares: 5, kernel.AddReLUNormSums: 5, kernel.AddReLUNormSquares: 5}[w.kind]
}

// state is the elements of a worker's accumulators.
func (w *writer) state() int { return w.activation.blocks() * 8 * lanes }

func (w *writer) accumulator(worker, block int) []float32 {
	return w.workspace(w.accumulators+worker*w.state()+block*8*lanes, 8*lanes)
}

func (w *writer) coefficient(g, i int) []float32 {
	return w.workspace(w.coefficients+(2*g+i)*w.padded(), w.padded())
}

func (w *writer) constant(g int) []float32 {
	return w.workspace(w.constants+g*w.padded(), w.padded())
}

// part is the sums of a block of images: [2][padded].
func (w *writer) part(unit int) []float32 {
	return w.workspace(w.parts+unit*2*w.padded(), 2*w.padded())
}

// norm is the first of the arguments xn, mean, variance.
func (w *writer) norm() int {
	if w.kind == kernel.AddReLUNormSums || w.kind == kernel.AddReLUNormSquares {
		return w.others + 2
	}
	return w.others
}

func (w *writer) prepare(g int) {
	constant := w.constant(g)
	clear(constant)
	scale, shift := w.coefficient(g, 0), w.coefficient(g, 1)
	clear(scale)
	clear(shift)
	switch w.kind {
	case kernel.Stats, kernel.Sums:
		copy(constant, w.Real(w.others))
	default:
		mean := w.Part(w.norm()+1, g)
		copy(constant, mean)
		if w.kind == kernel.ReLUNormSums || w.kind == kernel.ReLUNormSquares {
			w.affine(mean, w.Part(w.norm()+2, g), w.Real(w.norm()+3), w.Real(w.norm()+4), scale, shift)
		}
	}
}

// begin is called before the first image of a unit.
func (w *writer) begin(unit int) {
	if w.kind != kernel.Alone {
		clear(w.part(unit))
	}
}

// row is where row y of a block of image n lies.
func (w *writer) row(n, block, y int) []float32 {
	return w.Real(w.y)[n*w.image()+block*w.plane()+y*w.activation.row():]
}

// ahead lets l look ahead at what rows reads from row y of image n on, beside the output.
func (w *writer) ahead(l *lookahead, n, y int) {
	at, before := y*w.activation.row(), n/w.Repeats()*w.image()
	switch w.kind {
	case kernel.ReLUNormSums, kernel.ReLUNormSquares:
		l.add(w.Real(w.norm()), before+at)
	case kernel.AddReLUNormSums, kernel.AddReLUNormSquares:
		l.add(w.Real(w.others), n*w.image()+at)
		l.add(w.Real(w.others+1), before+at)
		l.add(w.Real(w.norm()), before+at)
	}
}

// rows is called when the rows [from, to) of a block of image n, of group g, are in place, in order, from a multiple of 4 on.
func (w *writer) rows(worker, g, n, block, from, to int) {
	if w.kind == kernel.Alone {
		return
	}
	acc := w.accumulator(worker, block)
	if from == 0 {
		clear(acc)
	}
	at := func(i, n int) *float32 { return &w.Real(i)[n*w.image()+block*w.plane()+from*w.activation.row()] }
	y, a, pixels := at(w.y, n), &acc[0], (to-from)*w.w
	constant := &w.constant(g)[block*lanes]
	before := n / w.Repeats()
	switch w.kind {
	case kernel.Stats, kernel.Sums:
		w.v.Sums(y, constant, a, pixels)
	case kernel.ReLUNormSums, kernel.ReLUNormSquares:
		w.v.NormReLUGradSums(y, y, at(w.norm(), before), &w.coefficient(g, 0)[block*lanes], &w.coefficient(g, 1)[block*lanes], constant, a, pixels)
	case kernel.AddReLUNormSums, kernel.AddReLUNormSquares:
		w.v.AddReLUGradSums(y, y, at(w.others, n), at(w.others+1, before), at(w.norm(), before), constant, a, pixels)
	}
}

// end is called when image n is whole; its sums are added to its block's.
func (w *writer) end(worker, unit, n int) {
	if w.kind == kernel.Alone {
		return
	}
	for block := range w.activation.blocks() {
		w.total(w.accumulator(worker, block))
	}
	if w.kind == kernel.ReLUNormSquares || w.kind == kernel.AddReLUNormSquares {
		w.Real(w.results)[n] += w.squares(w.Part(w.norm()+2, 0), func(i, ch int) float32 { return w.accumulator(worker, ch/lanes)[i*4*lanes+ch%lanes] })
		return
	}
	part := w.part(unit)
	for i := range 2 {
		for block := range w.activation.blocks() {
			sum := &part[i*w.padded()+block*lanes]
			w.v.Add(sum, sum, &w.accumulator(worker, block)[i*4*lanes], lanes)
		}
	}
}

// finish adds the step that turns the blocks' sums into results.
func (w *writer) finish() {
	if w.kind == kernel.Alone || w.kind == kernel.ReLUNormSquares || w.kind == kernel.AddReLUNormSquares {
		return
	}
	c := w.padded()
	w.addTree(w.parts, 2*c, func(g int, sum []float32) {
		switch w.kind {
		case kernel.Stats:
			w.statistics(sum[:c], sum[c:], w.Real(w.others), w.N*w.h*w.activation.w, w.Part(w.results, g), w.Part(w.results+1, g), w.Part(w.results+2, g))
		case kernel.Sums:
			sums := w.Part(w.results, g)
			copy(sums[:w.channels], sum)
			copy(sums[w.channels:], sum[c:])
		default:
			w.gradients(sum[:c], sum[c:], w.Part(w.norm()+2, g), w.Part(w.results, g), w.Part(w.results+1, g))
		}
	})
}
