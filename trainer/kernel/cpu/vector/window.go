package vector

import "unsafe"

// Both work as the products do: the right factors of 8 columns' chains over some terms are made float64 once and then meet every row, whose left factors are gathered.

func convolve(p *Window, x *float32, from, offsets *int, u, y *float32, to *int) {
	sources, targets, pieces := unsafe.Slice(from, p.Pixels), unsafe.Slice(to, p.Pixels), unsafe.Slice(offsets, p.Pieces)
	terms := p.Pieces * p.Depth
	var memory [blockTerms]factors
	var left [blockTerms]float32
	for column := 0; column < p.Cols; column += blockCols {
		place := column/Lanes*p.Block + column%Lanes
		for _, target := range targets {
			*(*sums)(unsafe.Pointer(at(y, target+place))) = sums{}
		}
		for first := 0; first < terms; first += blockTerms {
			b := block{terms: memory[:min(blockTerms, terms-first)]}
			b.take(at(u, first*p.Cols+column), p.Cols)
			for t, source := range sources {
				if t > 0 && targets[t] == targets[t-1] {
					continue // the pixel was given before, and goes on with its chains once
				}
				piece, k := first/p.Depth, first%p.Depth
				for i := range b.terms {
					left[i] = *at(x, source+pieces[piece]+k)
					if k++; k == p.Depth {
						piece, k = piece+1, 0
					}
				}
				b.chains(&left[0], 1, (*sums)(unsafe.Pointer(at(y, targets[t]+place))))
			}
		}
	}
}

func convolveGrad(p *Window, x *float32, from, offsets *int, y, dw *float32, to *int) {
	sources, targets, pieces := unsafe.Slice(from, p.Pixels), unsafe.Slice(to, p.Pixels), unsafe.Slice(offsets, p.Pieces)
	var memory [blockTerms]factors
	var left [blockTerms]float32
	for first := 0; first < p.Pixels; first += blockTerms {
		pixels := sources[first:min(first+blockTerms, p.Pixels)]
		b := block{terms: memory[:len(pixels)]}
		for column := 0; column < p.Cols; column += blockCols {
			b.takeFrom(at(y, column/Lanes*p.Block+column%Lanes), targets[first:])
			for i, offset := range pieces {
				for k := range p.Depth {
					for t, source := range pixels {
						left[t] = *at(x, source+offset+k)
					}
					b.chains(&left[0], 1, (*sums)(unsafe.Pointer(at(dw, i*p.Piece+k*p.Cols+column))))
				}
			}
		}
	}
}
