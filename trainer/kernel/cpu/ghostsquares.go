package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// ghostSquares is ConvSquares without the gradient, the "ghost norm" (Goodfellow 2015; Bu, Mao and Xu 2022 for convolutions): with a row of terms for every output pixel, X [P][R*R*C], and Y [P][K] of dy,
// ||X^T Y||^2 = sum of Y * (X X^T) Y. X X^T [P][P] serves all functions of an image of x. As it is symmetric, twice its part below the diagonal does as well.
type ghostSquares struct {
	*prepared
	x, dy    *reader
	bordered bordered // copy of an image of x
	phase    phase
	columns  []int // places of the terms' columns in X, turned over
	pixels   int   // in whole vectors
	grams    int   // place in the workspace of X X^T of the images of x, [pixels][pixels], folded
	own      int   // worker 0's scratch: the copy of x, its terms; or a copy of dy, the product with it, accumulators
	scratch  int
	products []vector.Product
}

const (
	ghostRows   = 16  // of a product with dy: all have as many terms as the last
	ghostPixels = 256 // at most: the products of an image's pixels stay in the second-level cache
)

// ghostFits says whether an op is computed so: where that takes fewer products, which its shapes say alone. It is part of the arithmetic.
func (k *prepared) ghostFits() bool {
	pixels, terms, repeats := k.OutH()*k.OutW(), k.R*k.R*k.C, k.Repeats()
	direct := pixels * terms * k.K
	if k.winogradFits() {
		const transform = 100 // of the sums of a pair of channels
		direct = positions*ceil(k.OutH(), tileSize)*ceil(k.OutW(), tileSize)*k.C*k.K + transform*k.C*k.K
	}
	return pixels <= ghostPixels && pixels*pixels*(k.K*repeats+2*terms) < 2*repeats*direct
}

// planGhostSquares plans ConvSquares; x's images are those before they are repeated.
func (k *prepared) planGhostSquares(x, dy *reader, q int) {
	s := &ghostSquares{prepared: k, x: x, dy: dy, products: make([]vector.Product, k.pool.threads)}
	s.bordered, s.phase = k.forwardShape()
	s.pixels = whole(s.phase.pixels)
	s.columns = multiples(s.phase.depth, s.pixels)
	images := k.Groups * k.N / k.Repeats()
	s.grams = k.reserve(images * s.pixels * s.pixels)
	s.scratch = max(whole(s.bordered.size())+s.phase.terms()*s.pixels+x.row(), dy.image()+dy.blocks()*s.pixels*lanes+9*lanes)
	s.own = k.reserve(k.pool.threads * s.scratch)
	k.add(images, images*s.pixels*s.pixels*s.phase.terms(), s.image)
	k.addSquares(q, s.pixels*s.pixels*dy.padded(), s.squares)
}

func (s *ghostSquares) gram(image int) []float32 {
	return s.workspace(s.grams+image*s.pixels*s.pixels, s.pixels*s.pixels)
}

// image computes X X^T of an image of x and folds what is above the diagonal down.
func (s *ghostSquares) image(worker, image int) {
	scratch := s.workspace(s.own+worker*s.scratch, s.scratch)
	x, rest := scratch[:s.bordered.size()], scratch[whole(s.bordered.size()):]
	terms, row := rest[:s.phase.terms()*s.pixels], rest[s.phase.terms()*s.pixels:]
	clear(x)
	clear(terms)
	s.x.copyBordered(x, row[:s.x.row()], s.bordered, image/(s.N/s.Repeats()), image)
	for i, offset := range s.phase.offsets {
		s.v.Transpose(&terms[i*s.phase.depth*s.pixels], &s.columns[0], &x[offset], &s.phase.at[0], s.phase.pixels, s.phase.depth)
	}
	p, gram := &s.products[worker], s.gram(image)
	*p = vector.Product{Positions: 1, Rows: s.pixels, Depth: s.phase.terms(), Cols: s.pixels, LeftRow: s.pixels}
	s.v.Accumulate(p, &terms[0], &terms[0], &gram[0], nil, true)
	for i := range s.pixels {
		row := gram[i*s.pixels:][:s.pixels]
		s.v.Add(&row[0], &row[0], &row[0], i)
		clear(row[i+1:])
	}
}

// squares is the sum of the squares of the gradient of image n of dy.
func (s *ghostSquares) squares(worker, g, n int) float32 {
	scratch := s.workspace(s.own+worker*s.scratch, s.scratch)
	y, blocks := scratch[:s.dy.image()], s.dy.blocks()
	product, acc := scratch[len(y):][:blocks*s.pixels*lanes], scratch[len(y)+blocks*s.pixels*lanes:][:9*lanes]
	if s.dy.plain() {
		y = s.Real(s.dy.first)[n*s.dy.image():]
	} else {
		for block := range blocks {
			s.dy.rows(y[block*s.dy.plane():], s.dy.row(), g, n, block, 0, s.dy.h)
		}
	}
	p, gram, pixels := &s.products[worker], s.gram(n/s.Repeats()), s.phase.pixels
	*p = vector.Product{Positions: blocks, Cols: lanes, LeftRow: s.pixels, RightPosition: s.dy.plane(), OutPosition: s.pixels * lanes}
	for row := 0; row < pixels; row += ghostRows {
		p.Rows, p.Depth = eight(min(ghostRows, pixels-row)), min(row+ghostRows, pixels)
		s.v.Multiply(p, &gram[row*s.pixels], &y[0], &product[row*lanes], nil, nil)
	}
	clear(acc)
	for block := range blocks {
		s.v.GradSums(&y[block*s.dy.plane()], &product[block*s.pixels*lanes], &acc[8*lanes], &acc[0], pixels)
	}
	s.total(acc[:8*lanes])
	return max(0, byHalves(acc[4*lanes:5*lanes])) // rounding could bring it below
}
