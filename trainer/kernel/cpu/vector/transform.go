package vector

// The points of F(4x4, 3x3) are 0, a, -a, b, -b and infinity.
const (
	a    = 3.0 / 4
	b    = 3.0 / 2
	a2   = a * a
	b2   = b * b
	a3   = a * a * a
	a2b2 = a2 * b2
	s2   = a2 + b2
	c0   = 1 / a2b2
	ca   = 1 / (2 * a2 * (a2 - b2))
	cb   = 1 / (2 * b2 * (b2 - a2))
)

// input is B^T d.
func input(d *[6]float32) [6]float32 {
	e, f := fma(-b2, d[2], d[4]), fma(-b2, d[1], d[3])
	g, h := fma(-a2, d[2], d[4]), fma(-a2, d[1], d[3])
	return [6]float32{
		fma(a2b2, d[0], fma(-s2, d[2], d[4])),
		fma(a, f, e), fma(-a, f, e), fma(b, h, g), fma(-b, h, g),
		fma(a2b2, d[1], fma(-s2, d[3], d[5])),
	}
}

// gradient is A y.
func gradient(y *[4]float32) [6]float32 {
	e, f := fma(a2, y[2], y[0]), fma(a2, y[3], y[1])
	g, h := fma(b2, y[2], y[0]), fma(b2, y[3], y[1])
	return [6]float32{y[0], fma(a, f, e), fma(-a, f, e), fma(b, h, g), fma(-b, h, g), y[3]}
}

// output is A^T m.
func output(m *[6]float32) [4]float32 {
	p, q, r, s := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [4]float32{(m[0] + p) + r, float32(a * fma(2, s, q)), float32(a2 * fma(4, r, p)), fma(a3, fma(8, s, q), m[5])}
}

// weight is G g.
func weight(g *[3]float32) [6]float32 {
	e, f := fma(a2, g[2], g[0]), float32(a*g[1])
	h, i := fma(b2, g[2], g[0]), float32(b*g[1])
	return [6]float32{float32(c0 * g[0]), float32(ca * (e + f)), float32(ca * (e - f)), float32(cb * (h + i)), float32(cb * (h - i)), g[2]}
}

// weightGrad is G^T s.
func weightGrad(s *[6]float32) [3]float32 {
	p, q, r, t := s[1]+s[2], s[1]-s[2], s[3]+s[4], s[3]-s[4]
	return [3]float32{
		fma(ca, p, fma(cb, r, float32(c0*s[0]))),
		fma(ca*a, q, float32(cb*b*t)),
		fma(ca*a2, p, fma(cb*b2, r, s[5])),
	}
}

func inputTiles(x *float32, row int, v *float32, position, tile, n int) {
	for t := range n {
		for l := range Lanes {
			var half [6][6]float32
			for j := range 6 {
				var d [6]float32
				for i := range d {
					d[i] = *from(x, i*row+(4*t+j)*Lanes+l)
				}
				for i, o := range input(&d) {
					half[i][j] = o
				}
			}
			for i := range half {
				for j, o := range input(&half[i]) {
					*from(v, (6*i+j)*position+t*tile+l) = o
				}
			}
		}
	}
}

func gradTiles(y *float32, row int, q *float32, position, tile, n int) {
	for t := range n {
		for l := range Lanes {
			var half [6][4]float32
			for j := range 4 {
				var d [4]float32
				for i := range d {
					d[i] = *from(y, i*row+(4*t+j)*Lanes+l)
				}
				for i, o := range gradient(&d) {
					half[i][j] = o
				}
			}
			for i := range half {
				for j, o := range gradient(&half[i]) {
					*from(q, (6*i+j)*position+t*tile+l) = o
				}
			}
		}
	}
}

func outputTiles(m *float32, position, tile int, y *float32, row, n int) {
	for t := range n {
		for l := range Lanes {
			var half [4][6]float32
			for j := range 6 {
				var d [6]float32
				for i := range d {
					d[i] = *from(m, (6*i+j)*position+t*tile+l)
				}
				for i, o := range output(&d) {
					half[i][j] = o
				}
			}
			for i := range half {
				for j, o := range output(&half[i]) {
					*from(y, i*row+(4*t+j)*Lanes+l) = o
				}
			}
		}
	}
}

func weightTiles(w *float32, lane, lanes int, flip bool, step int, u *float32, position, next, n int) {
	for k := range n {
		for l := range Lanes {
			var g [9]float32
			for t := range g {
				switch {
				case l >= lanes:
				case flip:
					g[8-t] = *from(w, k*step+l*lane+t)
				default:
					g[t] = *from(w, k*step+l*lane+t)
				}
			}
			var half [6][3]float32
			for j := range 3 {
				for i, o := range weight(&[3]float32{g[j], g[3+j], g[6+j]}) {
					half[i][j] = o
				}
			}
			for i := range half {
				for j, o := range weight(&half[i]) {
					*from(u, (6*i+j)*position+k*next+l) = o
				}
			}
		}
	}
}

func weightGradTiles(s *float32, position int, dw *float32, tap, n int) {
	for i := range n * Lanes {
		var half [3][6]float32
		for j := range 6 {
			var d [6]float32
			for k := range d {
				d[k] = *from(s, (6*k+j)*position+i)
			}
			for k, o := range weightGrad(&d) {
				half[k][j] = o
			}
		}
		for k := range half {
			for j, o := range weightGrad(&half[k]) {
				*from(dw, (3*k+j)*tap+i) = o
			}
		}
	}
}
