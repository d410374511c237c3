package vector

import "unsafe"

func norm(y, x, scale, shift *float32, n int) {
	for i := range n {
		fmas(lineAt(y, 16*i), lineAt(x, 16*i), lineAt(scale, 0), lineAt(shift, 0))
	}
}

func normReLU(y, x, scale, shift *float32, n int) {
	for i := range n {
		o := lineAt(y, 16*i)
		fmas(o, lineAt(x, 16*i), lineAt(scale, 0), lineAt(shift, 0))
		relu(o, o)
	}
}

func normAddReLU(y, z, x, r, scale, shift *float32, n int) {
	for i := range n {
		var t line
		fmas(&t, lineAt(x, 16*i), lineAt(scale, 0), lineAt(shift, 0))
		add(&t, &t, lineAt(r, 16*i))
		relu(&t, &t)
		*lineAt(y, 16*i), *lineAt(z, 16*i) = t, t
	}
}

func normGrad(dx, dy, x, scale, slope, shift *float32, n int) {
	for i := range n {
		var t line
		fmas(&t, lineAt(x, 16*i), lineAt(slope, 0), lineAt(shift, 0))
		fmas(lineAt(dx, 16*i), lineAt(dy, 16*i), lineAt(scale, 0), &t)
	}
}

func scale(y, x, scale *float32, n int) {
	for i := range n {
		multiply(lineAt(y, 16*i), lineAt(x, 16*i), lineAt(scale, 0))
	}
}

// accumulators are an image's sums: pixel i goes to accumulator i%4.
type accumulators [2][4]line

func accumulatorsAt(p *float32) *accumulators { return (*accumulators)(unsafe.Pointer(p)) }

// add goes on with pixel i: the sums of a, and of a*b.
func (acc *accumulators) add(i int, a, b *line) {
	plain, products := &acc[0][i%4], &acc[1][i%4]
	add(plain, plain, a)
	fmas(products, a, b, products)
}

func imageSums(x, shift, acc *float32, n int) {
	for i := range n {
		var d line
		subtract(&d, lineAt(x, 16*i), lineAt(shift, 0))
		accumulatorsAt(acc).add(i, &d, &d)
	}
}

func gradSums(dy, x, mean, acc *float32, n int) {
	for i := range n {
		var d line
		subtract(&d, lineAt(x, 16*i), lineAt(mean, 0))
		accumulatorsAt(acc).add(i, lineAt(dy, 16*i), &d)
	}
}

func normReLUGradSums(g, dy, x, scale, shift, mean, acc *float32, n int) {
	for i := range n {
		var t, d line
		fmas(&t, lineAt(x, 16*i), lineAt(scale, 0), lineAt(shift, 0))
		where(&t, &t, lineAt(dy, 16*i))
		subtract(&d, lineAt(x, 16*i), lineAt(mean, 0))
		*lineAt(g, 16*i) = t
		accumulatorsAt(acc).add(i, &t, &d)
	}
}

func addReLUGradSums(g, dy, r, z, x, mean, acc *float32, n int) {
	for i := range n {
		var t, d line
		add(&t, lineAt(dy, 16*i), lineAt(r, 16*i))
		where(&t, lineAt(z, 16*i), &t)
		subtract(&d, lineAt(x, 16*i), lineAt(mean, 0))
		*lineAt(g, 16*i) = t
		accumulatorsAt(acc).add(i, &t, &d)
	}
}
