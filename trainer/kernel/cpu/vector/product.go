package vector

import (
	"math"
	"unsafe"
)

// Both products are chains over terms: out[row][column] goes on with left(row, term) * right[term][column]. A block is the right factors of 8 columns' chains
// over at most 64 terms; they are made float64 once and then meet every row.
const (
	blockCols  = 8
	blockTerms = 64
)

type (
	factors [blockCols]float64 // of a term
	sums    = [blockCols]float32
	block   struct {
		terms []factors
		floor uint32 // below it a left factor's magnitude may lead to denormals
	}
)

func multiplyPositions(p *Product, v, u, m *float32, _ *uintptr, _ *float32) {
	products(p, v, u, m, p.LeftRow, 1, true)
}

func accumulatePositions(p *Product, v, q, s *float32, _ *uintptr, first bool) {
	products(p, v, q, s, 1, p.LeftRow, first)
}

// products does the positions' chains, whose left factors are leftRow elements apart from row to row and leftTerm from term to term.
func products(p *Product, left, right, out *float32, leftRow, leftTerm int, first bool) {
	var memory [blockTerms]factors
	for position := range p.Positions {
		l, r, o := at(left, position*p.LeftPosition), at(right, position*p.RightPosition), at(out, position*p.OutPosition)
		if first {
			clear(unsafe.Slice(o, p.Rows*p.Cols))
		}
		for from := 0; from < p.Depth; from += blockTerms {
			b := block{terms: memory[:min(blockTerms, p.Depth-from)]}
			for column := 0; column < p.Cols; column += blockCols {
				b.take(at(r, from*p.Cols+column), p.Cols)
				for row := range p.Rows {
					b.chains(at(l, row*leftRow+from*leftTerm), leftTerm, (*sums)(unsafe.Pointer(at(o, row*p.Cols+column))))
				}
			}
		}
	}
}

// magnitude orders float32 by their size, with 0 behind all.
func magnitude(v float32) uint32 { return 2*math.Float32bits(v) - 1 }

// take fills the block with factors that are step elements apart from term to term.
func (b *block) take(right *float32, step int) {
	least := magnitude(float32(math.Inf(1)))
	for t := range b.terms {
		least = min(least, b.terms[t].take(at(right, t*step)))
	}
	b.setFloor(least)
}

// takeFrom fills the block with factors that lie at places behind right.
func (b *block) takeFrom(right *float32, places []int) {
	least := magnitude(float32(math.Inf(1)))
	for t := range b.terms {
		least = min(least, b.terms[t].take(at(right, places[t])))
	}
	b.setFloor(least)
}

// take makes a term's factors, and says the least magnitude among them.
func (f *factors) take(from *float32) uint32 {
	least := magnitude(float32(math.Inf(1)))
	for j, v := range (*sums)(unsafe.Pointer(from)) {
		f[j] = float64(v)
		least = min(least, magnitude(v))
	}
	return least
}

// setFloor, of the least magnitude among the factors, has a bit to spare for its own rounding.
func (b *block) setFloor(least uint32) {
	b.floor = 2 * math.Float32bits(0x1p-77/math.Float32frombits(least/2+1))
}

// chains goes on with a row's chains. Its left factors are step elements apart.
func (b *block) chains(left *float32, step int, out *sums) {
	if b.plainChains(left, step, out) {
		return
	}
	for t := range b.terms {
		for j := range out {
			out[j] = fma(*at(left, t*step), float32(b.terms[t][j]), out[j])
		}
	}
}

// plainChains is chains if no sum is doubtful; else it changes nothing and is false. A float32 of size m is a multiple of a power of two above m*2^-24. So if the
// products are of 2^-78 or more, and what the chains go on with of 2^-102 or more, or 0, then every sum is a multiple of 2^-126: there are no denormals.
func (b *block) plainChains(left *float32, step int, out *sums) bool {
	for _, s := range out {
		if magnitude(s) < magnitude(0x1p-102) {
			return false
		}
	}
	s0, s1, s2, s3 := float64(out[0]), float64(out[1]), float64(out[2]), float64(out[3])
	s4, s5, s6, s7 := float64(out[4]), float64(out[5]), float64(out[6]), float64(out[7])
	terms, floor := b.terms, b.floor
	for t := range terms {
		f, r := *at(left, t*step), &terms[t]
		if magnitude(f) < floor {
			return false
		}
		l := float64(f)
		if s0 += l * r[0]; halfway(s0) {
			return false
		}
		s0 = float64(float32(s0))
		if s1 += l * r[1]; halfway(s1) {
			return false
		}
		s1 = float64(float32(s1))
		if s2 += l * r[2]; halfway(s2) {
			return false
		}
		s2 = float64(float32(s2))
		if s3 += l * r[3]; halfway(s3) {
			return false
		}
		s3 = float64(float32(s3))
		if s4 += l * r[4]; halfway(s4) {
			return false
		}
		s4 = float64(float32(s4))
		if s5 += l * r[5]; halfway(s5) {
			return false
		}
		s5 = float64(float32(s5))
		if s6 += l * r[6]; halfway(s6) {
			return false
		}
		s6 = float64(float32(s6))
		if s7 += l * r[7]; halfway(s7) {
			return false
		}
		s7 = float64(float32(s7))
	}
	*out = sums{float32(s0), float32(s1), float32(s2), float32(s3), float32(s4), float32(s5), float32(s6), float32(s7)}
	return true
}
