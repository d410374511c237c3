package vector

import "unsafe"

// Both products are chains over terms: out[row][column] goes on with left(row, term) * right[term][column]. A block is the right factors of 8 columns' chains over
// at most 64 terms; they are made float64 once and then meet every row.
const (
	blockCols  = 8
	blockTerms = 64
)

type (
	block [blockTerms][blockCols]float64
	sums8 = [blockCols]float32
)

func multiplyPositions(p *Product, v, u, m *float32, _ *uintptr, _ *float32) {
	products(p, v, u, m, p.LeftRow, 1, true)
}

func accumulatePositions(p *Product, v, q, s *float32, _ *uintptr, first bool) {
	products(p, v, q, s, 1, p.LeftRow, first)
}

// products does the positions' chains, whose left factors are leftRow elements apart from row to row and leftTerm from term to term.
func products(p *Product, left, right, out *float32, leftRow, leftTerm int, first bool) {
	var memory block
	for position := range p.Positions {
		l, r, o := at(left, position*p.LeftPosition), at(right, position*p.RightPosition), at(out, position*p.OutPosition)
		if first {
			clear(unsafe.Slice(o, p.Rows*p.Cols))
		}
		for from := 0; from < p.Depth; from += blockTerms {
			factors := memory[:min(blockTerms, p.Depth-from)]
			for column := 0; column < p.Cols; column += blockCols {
				for t := range factors {
					for j, f := range (*sums8)(unsafe.Pointer(at(r, (from+t)*p.Cols+column))) {
						factors[t][j] = float64(f)
					}
				}
				for row := range p.Rows {
					chains(factors, at(l, row*leftRow+from*leftTerm), leftTerm, (*sums8)(unsafe.Pointer(at(o, row*p.Cols+column))))
				}
			}
		}
	}
}

// chains goes on with a row's chains. Its left factors are step elements apart.
func chains(right [][blockCols]float64, left *float32, step int, out *sums8) {
	if chainsIfPlain(right, left, step, out) {
		return
	}
	for t := range right {
		for j := range out {
			out[j] = fma(*at(left, t*step), float32(right[t][j]), out[j])
		}
	}
}

// chainsIfPlain is chains where no sum is doubtful; else it changes nothing and is false.
func chainsIfPlain(right [][blockCols]float64, left *float32, step int, out *sums8) bool {
	s0 := float64(out[0])
	s1 := float64(out[1])
	s2 := float64(out[2])
	s3 := float64(out[3])
	s4 := float64(out[4])
	s5 := float64(out[5])
	s6 := float64(out[6])
	s7 := float64(out[7])
	for t := range right {
		l, r := float64(*at(left, t*step)), &right[t]
		if s0 += l * r[0]; doubtful(s0) {
			return false
		}
		s0 = float64(float32(s0))
		if s1 += l * r[1]; doubtful(s1) {
			return false
		}
		s1 = float64(float32(s1))
		if s2 += l * r[2]; doubtful(s2) {
			return false
		}
		s2 = float64(float32(s2))
		if s3 += l * r[3]; doubtful(s3) {
			return false
		}
		s3 = float64(float32(s3))
		if s4 += l * r[4]; doubtful(s4) {
			return false
		}
		s4 = float64(float32(s4))
		if s5 += l * r[5]; doubtful(s5) {
			return false
		}
		s5 = float64(float32(s5))
		if s6 += l * r[6]; doubtful(s6) {
			return false
		}
		s6 = float64(float32(s6))
		if s7 += l * r[7]; doubtful(s7) {
			return false
		}
		s7 = float64(float32(s7))
	}
	*out = sums8{float32(s0), float32(s1), float32(s2), float32(s3), float32(s4), float32(s5), float32(s6), float32(s7)}
	return true
}
