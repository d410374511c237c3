package cpu

import (
	"math/bits"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu/vector"
)

// An outer product summed over images has so few terms in a block of images that its parts would be most of what moves. So a piece of it, some rows by some columns, goes through all blocks and their tree while
// its parts stay in the nearest cache.

const (
	outerRows = 16
	outerCols = 128
)

// outer is out [rows][cols] per group = the sum over images of left [rows] times right [cols]: a chain over a block of images, then the tree.
type outer struct {
	*prepared
	left, right, out int // arguments
	rows, cols       int
	factors          int // place in the workspace of left, [images][rows in whole vectors]
	strips           int // and of right, [strips of columns][images][columns of the strip]
	own, scratch     int // worker 0's scratch: the sums of the levels of the tree
	products         []vector.Product
}

// addOuter adds the steps of an outer product.
func (k *prepared) addOuter(left, right, rows, cols, out int) {
	o := &outer{prepared: k, left: left, right: right, out: out, rows: rows, cols: cols, products: make([]vector.Product, k.pool.threads)}
	m, strips := k.Groups*k.N, ceil(cols, outerCols)
	o.factors, o.strips = k.reserve(m*whole(rows)), k.reserve(m*whole(cols))
	levels := 1 + bits.Len(uint(k.imageBlocks()))
	o.scratch = levels * outerRows * o.width(0)
	o.own = k.reserve(k.pool.threads * o.scratch)
	k.add(ceil(m, blockImages), m*(rows+cols)/8, func(_, unit int) {
		from, to := unit*blockImages, min((unit+1)*blockImages, m)
		rowsOf(k.workspace(o.factors+from*whole(rows), (to-from)*whole(rows)), k.Real(left), rows, whole(rows), from, to, to-from)
		for n := from; n < to; n++ {
			for strip := range strips {
				row := vectorOf(k.Real(right), n, cols)[strip*outerCols:]
				dst := o.strip(strip)[n*o.width(strip):][:o.width(strip)]
				clear(dst[copy(dst, row):])
			}
		}
	})
	runs := ceil(rows, outerRows)
	k.add(k.Groups*strips*runs, m*whole(rows)*whole(cols)/8, func(worker, unit int) {
		o.piece(worker, unit/runs/strips, unit%runs*outerRows, unit/runs%strips)
	})
}

// width is the columns of a strip, in whole vectors.
func (o *outer) width(strip int) int { return min(outerCols, whole(o.cols)-strip*outerCols) }

// strip is the right factors of a strip: [images][columns].
func (o *outer) strip(strip int) []float32 {
	m := o.Groups * o.N
	return o.workspace(o.strips+m*strip*outerCols, m*o.width(strip))
}

// piece computes the rows from `row` on of a strip of a group's sum.
func (o *outer) piece(worker, g, row, strip int) {
	sums := o.workspace(o.own+worker*o.scratch, o.scratch)
	height, width := whole(o.rows), o.width(strip)
	left, right, product := o.workspace(o.factors, o.Groups*o.N*height), o.strip(strip), &o.products[worker]
	part := func(block int, sum []float32) {
		_, from, to := o.block(g*o.imageBlocks() + block)
		*product = vector.Product{Positions: 1, Rows: outerRows, Depth: to - from, Cols: width, LeftRow: height}
		o.v.Accumulate(product, &left[from*height+row], &right[from*width], &sum[0], nil, true)
	}
	o.grow(0, o.imageBlocks(), outerRows*width, sums, part)
	for i := range min(outerRows, o.rows-row) {
		copy(o.Part(o.out, g)[(row+i)*o.cols:][:o.cols][strip*outerCols:], sums[i*width:][:width])
	}
}

// grow leaves the sum of the parts of blocks [a, b), each of n elements, in front of sums, and uses what lies behind.
func (o *outer) grow(a, b, n int, sums []float32, part func(block int, sum []float32)) {
	if b-a < 2 {
		part(a, sums)
		return
	}
	m := kernel.Split(a, b)
	o.grow(a, m, n, sums, part)
	o.grow(m, b, n, sums[n:], part)
	o.v.Add(&sums[0], &sums[0], &sums[n], n)
}
