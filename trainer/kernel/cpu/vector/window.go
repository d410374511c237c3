package vector

import "unsafe"

func convolve(p *Window, x *float32, from, offsets *int, u, y *float32, to *int) {
	sources, targets, pieces := unsafe.Slice(from, p.Pixels), unsafe.Slice(to, p.Pixels), unsafe.Slice(offsets, p.Pieces)
	for t, source := range sources {
		for column := 0; column < p.Cols; column += Lanes {
			var s line
			for i, offset := range pieces {
				for k := range p.Depth {
					fmaBy(&s, *at(x, source+offset+k), lineAt(u, (i*p.Depth+k)*p.Cols+column), &s)
				}
			}
			*lineAt(y, targets[t]+column/Lanes*p.Block) = s
		}
	}
}

func convolveGrad(p *Window, x *float32, from, offsets *int, y, dw *float32, to *int) {
	sources, targets, pieces := unsafe.Slice(from, p.Pixels), unsafe.Slice(to, p.Pixels), unsafe.Slice(offsets, p.Pieces)
	for i, offset := range pieces {
		for k := range p.Depth {
			for column := 0; column < p.Cols; column += Lanes {
				out := lineAt(dw, i*p.Piece+k*p.Cols+column)
				s := *out
				for t, source := range sources {
					fmaBy(&s, *at(x, source+offset+k), lineAt(y, targets[t]+column/Lanes*p.Block), &s)
				}
				*out = s
			}
		}
	}
}
