package vector

import "unsafe"

// Both products are chains over terms: out[row][column] goes on with left(row, term) * right[term][column]. A block is 8 rows' chains over at most 64 terms;
// its left factors are made float64 once and then meet every column.
const (
	blockRows  = 8
	blockTerms = 64
)

type block [blockTerms][blockRows]float64

func multiplyPositions(p *Product, v, u, m, _, _ *float32) { products(p, v, u, m, p.LeftRow, 1, true) }

func accumulatePositions(p *Product, v, q, s, _ *float32, first bool) {
	products(p, v, q, s, 1, p.LeftRow, first)
}

// products does the positions' chains, whose left factors are leftRow elements apart from row to row and leftTerm from term to term.
func products(p *Product, left, right, out *float32, leftRow, leftTerm int, first bool) {
	var factors block
	for position := range p.Positions {
		l, r, o := at(left, position*p.LeftPosition), at(right, position*p.RightPosition), at(out, position*p.OutPosition)
		if first {
			clear(unsafe.Slice(o, p.Rows*p.Cols))
		}
		for from := 0; from < p.Depth; from += blockTerms {
			terms := min(blockTerms, p.Depth-from)
			for row := 0; row < p.Rows; row += blockRows {
				block := factors[:terms]
				for t := range block {
					for i := range block[t] {
						block[t][i] = float64(*at(l, (row+i)*leftRow+(from+t)*leftTerm))
					}
				}
				for column := range p.Cols {
					chains(block, at(r, from*p.Cols+column), at(o, row*p.Cols+column), p.Cols)
				}
			}
		}
	}
}

// chains goes on with a column's chains of a block. The right factors and the chains are cols elements apart.
func chains(left [][blockRows]float64, right, out *float32, cols int) {
	for i := range blockRows {
		s := *at(out, i*cols)
		for t := range left {
			s = fma(float32(left[t][i]), *at(right, t*cols), s)
		}
		*at(out, i*cols) = s
	}
}
