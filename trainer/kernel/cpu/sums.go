package cpu

import "github.com/dither-ml/dither/trainer/kernel"

// blockImages is the images whose sum is one part of the fixed tree. It is part of the arithmetic.
const blockImages = 8

// blocks is the blocks of a group.
func (k *prepared) blocks() int { return ceil(k.N, blockImages) }

// block is the group of a unit that is a block, and its images.
func (k *prepared) block(unit int) (g, from, to int) {
	g = unit / k.blocks()
	from = g*k.N + unit%k.blocks()*blockImages
	return g, from, min(from+blockImages, (g+1)*k.N)
}

// columns is the elements of a part that one unit of a tree adds up.
const columns = 4096

// addTree adds a step that adds up, for every group, the blocks' parts of width elements that earlier steps left in the workspace, one block
// after the other from 0 on, and gives the elements [from, to) of the sum to finish.
func (k *prepared) addTree(width int, finish func(g, from, to int, sum []float32)) {
	nb := k.blocks()
	chunks := ceil(width, columns)
	k.add(k.Groups*chunks, k.Groups*nb*width, func(_, unit int) {
		g, from := unit/chunks, unit%chunks*columns
		to := min(from+columns, width)
		parts := k.workspace(g*nb*width, nb*width)
		tree(parts, width, 0, nb, from, to)
		finish(g, from, to, parts[from:to])
	})
}

// tree adds up columns [from, to) of the parts [a, b) into part a.
func tree(parts []float32, width, a, b, from, to int) {
	if b-a < 2 {
		return
	}
	m := kernel.Split(a, b)
	tree(parts, width, a, m, from, to)
	tree(parts, width, m, b, from, to)
	left, right := parts[a*width+from:a*width+to], parts[m*width+from:m*width+to]
	for i, v := range right {
		left[i] += v
	}
}

// tree64 is the sum of leaf(i) over [a, b).
func tree64(a, b int, leaf func(i int) float64) float64 {
	if b-a < 2 {
		return leaf(a)
	}
	m := kernel.Split(a, b)
	return tree64(a, m, leaf) + tree64(m, b, leaf)
}

// lanes are 16 partial sums. They stand for one vector register, or for two or four.
type lanes [16]float32

// total adds the lanes up by halves.
func (l *lanes) total() float32 {
	for half := len(l) / 2; half > 0; half /= 2 {
		for i := range half {
			l[i] += l[i+half]
		}
	}
	return l[0]
}

// add adds v.
func (l *lanes) add(v []float32) {
	for ; len(v) >= len(l); v = v[len(l):] {
		for i, x := range (*lanes)(v) {
			l[i] += x
		}
	}
	for i, x := range v {
		l[i] += x
	}
}

// addSquares adds (v - mean)^2.
func (l *lanes) addSquares(v []float32, mean float32) {
	for ; len(v) >= len(l); v = v[len(l):] {
		for i, x := range (*lanes)(v) {
			d := x - mean
			l[i] += float32(d * d)
		}
	}
	for i, x := range v {
		d := x - mean
		l[i] += float32(d * d)
	}
}

// addShifted adds v - shift.
func (l *lanes) addShifted(v []float32, shift float32) {
	for ; len(v) >= len(l); v = v[len(l):] {
		for i, x := range (*lanes)(v) {
			l[i] += x - shift
		}
	}
	for i, x := range v {
		l[i] += x - shift
	}
}

// addProducts adds u (v - mean).
func (l *lanes) addProducts(u, v []float32, mean float32) {
	v = v[:len(u)]
	for ; len(u) >= len(l); u, v = u[len(l):], v[len(l):] {
		y := (*lanes)(v)
		for i, x := range (*lanes)(u) {
			l[i] += float32(x * (y[i] - mean))
		}
	}
	for i, x := range u {
		l[i] += float32(x * (v[i] - mean))
	}
}
