package vector

// The entries of G, exact here and each rounded to float32 where it is used.
const (
	c0  = 64.0 / 81
	ca  = -128.0 / 243
	cb  = 32.0 / 243
	caa = ca * a
	cbb = cb * b
	ca2 = ca * a2
	cb2 = cb * b2
)

func weightTiles(w *float32, lane, lanes int, flip bool, step int, u *float32, position, next, n int) {
	for k := range n {
		var taps [3][3]line
		for l := range lanes {
			for t := range 9 {
				from := t
				if flip {
					from = 8 - t
				}
				taps[t/3][t%3][l] = *at(w, k*step+l*lane+from)
			}
		}
		var rows [6][3]line
		for j := range 3 {
			weight(&taps[0][j], &taps[1][j], &taps[2][j], &rows[0][j], &rows[1][j], &rows[2][j], &rows[3][j], &rows[4][j], &rows[5][j])
		}
		for i := range 6 {
			var o [6]line
			weight(&rows[i][0], &rows[i][1], &rows[i][2], &o[0], &o[1], &o[2], &o[3], &o[4], &o[5])
			for j := range o {
				clear(o[j][lanes:])
				*lineAt(u, (6*i+j)*position+k*next) = o[j]
			}
		}
	}
}

// weight is G g: three lines to six.
func weight(g0, g1, g2, o0, o1, o2, o3, o4, o5 *line) {
	var e, f, t line
	multiplyBy(o0, c0, g0)
	fmaBy(&e, a2, g2, g0)
	multiplyBy(&f, a, g1)
	add(&t, &e, &f)
	multiplyBy(o1, ca, &t)
	subtract(&t, &e, &f)
	multiplyBy(o2, ca, &t)
	fmaBy(&e, b2, g2, g0)
	multiplyBy(&f, b, g1)
	add(&t, &e, &f)
	multiplyBy(o3, cb, &t)
	subtract(&t, &e, &f)
	multiplyBy(o4, cb, &t)
	*o5 = *g2
}

func weightGradTiles(s *float32, position int, dw *float32, tap, n int) {
	for v := range n {
		var rows [3][6]line
		for j := range 6 {
			p := func(i int) *line { return lineAt(s, (6*i+j)*position+16*v) }
			weightGrad(p(0), p(1), p(2), p(3), p(4), p(5), &rows[0][j], &rows[1][j], &rows[2][j])
		}
		for i := range 3 {
			r := &rows[i]
			weightGrad(&r[0], &r[1], &r[2], &r[3], &r[4], &r[5], lineAt(dw, 3*i*tap+16*v), lineAt(dw, (3*i+1)*tap+16*v), lineAt(dw, (3*i+2)*tap+16*v))
		}
	}
}

// weightGrad is G^T s: six lines to three.
func weightGrad(s0, s1, s2, s3, s4, s5, o0, o1, o2 *line) {
	var p, q, r, t, e line
	add(&p, s1, s2)
	subtract(&q, s1, s2)
	add(&r, s3, s4)
	subtract(&t, s3, s4)
	multiplyBy(&e, c0, s0)
	fmaBy(&e, cb, &r, &e)
	fmaBy(o0, ca, &p, &e)
	multiplyBy(&e, cbb, &t)
	fmaBy(o1, caa, &q, &e)
	fmaBy(&e, cb2, &r, s5)
	fmaBy(o2, ca2, &p, &e)
}
