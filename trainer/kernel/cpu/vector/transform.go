package vector

// The points a and b of the Winograd transforms, and what their matrices are made of.
const (
	a    = 0.75
	b    = 1.5
	a2   = a * a
	b2   = b * b
	a3   = a * a * a
	a2b2 = a2 * b2
	s2   = a2 + b2
)

func inputTiles(x *float32, row int, v *float32, position, tile, n int) {
	for t := range n {
		var rows, out [6][6]line
		for j := range 6 {
			input(lineAt(x, 64*t+16*j), lineAt(x, 64*t+16*j+row), lineAt(x, 64*t+16*j+2*row), lineAt(x, 64*t+16*j+3*row), lineAt(x, 64*t+16*j+4*row),
				lineAt(x, 64*t+16*j+5*row), &rows[0][j], &rows[1][j], &rows[2][j], &rows[3][j], &rows[4][j], &rows[5][j])
		}
		for i := range 6 {
			r, o := &rows[i], &out[i]
			input(&r[0], &r[1], &r[2], &r[3], &r[4], &r[5], &o[0], &o[1], &o[2], &o[3], &o[4], &o[5])
		}
		scatter(&out, v, position, tile*t)
	}
}

// input is B^T d: six lines to six.
func input(d0, d1, d2, d3, d4, d5, o0, o1, o2, o3, o4, o5 *line) {
	var t, e, f, g, h line
	fmaBy(&t, -s2, d2, d4)
	fmaBy(o0, a2b2, d0, &t)
	fmaBy(&t, -s2, d3, d5)
	fmaBy(o5, a2b2, d1, &t)
	fmaBy(&e, -b2, d2, d4)
	fmaBy(&f, -b2, d1, d3)
	fmaBy(&g, -a2, d2, d4)
	fmaBy(&h, -a2, d1, d3)
	fmaBy(o1, a, &f, &e)
	fmaBy(o2, -a, &f, &e)
	fmaBy(o3, b, &h, &g)
	fmaBy(o4, -b, &h, &g)
}

func gradTiles(y *float32, row int, q *float32, position, tile, n int) {
	for t := range n {
		var rows [6][4]line
		var out [6][6]line
		for j := range 4 {
			grad(lineAt(y, 64*t+16*j), lineAt(y, 64*t+16*j+row), lineAt(y, 64*t+16*j+2*row), lineAt(y, 64*t+16*j+3*row),
				&rows[0][j], &rows[1][j], &rows[2][j], &rows[3][j], &rows[4][j], &rows[5][j])
		}
		for i := range 6 {
			r, o := &rows[i], &out[i]
			grad(&r[0], &r[1], &r[2], &r[3], &o[0], &o[1], &o[2], &o[3], &o[4], &o[5])
		}
		scatter(&out, q, position, tile*t)
	}
}

// grad is A y: four lines to six.
func grad(y0, y1, y2, y3, o0, o1, o2, o3, o4, o5 *line) {
	var e, f, g, h line
	fmaBy(&e, a2, y2, y0)
	fmaBy(&f, a2, y3, y1)
	fmaBy(&g, b2, y2, y0)
	fmaBy(&h, b2, y3, y1)
	*o0 = *y0
	fmaBy(o1, a, &f, &e)
	fmaBy(o2, -a, &f, &e)
	fmaBy(o3, b, &h, &g)
	fmaBy(o4, -b, &h, &g)
	*o5 = *y3
}

// scatter puts a tile's positions where they belong.
func scatter(tile *[6][6]line, out *float32, position, offset int) {
	for i := range tile {
		for j := range tile[i] {
			*lineAt(out, (6*i+j)*position+offset) = tile[i][j]
		}
	}
}

func outputTiles(m *float32, position, tile int, y *float32, row, n int) {
	for t := range n {
		var rows [4][6]line
		for j := range 6 {
			p := func(i int) *line { return lineAt(m, (6*i+j)*position+tile*t) }
			output(p(0), p(1), p(2), p(3), p(4), p(5), &rows[0][j], &rows[1][j], &rows[2][j], &rows[3][j])
		}
		for i := range 4 {
			r, o := &rows[i], i*row+64*t
			output(&r[0], &r[1], &r[2], &r[3], &r[4], &r[5], lineAt(y, o), lineAt(y, o+16), lineAt(y, o+32), lineAt(y, o+48))
		}
	}
}

// output is A^T m: six lines to four.
func output(m0, m1, m2, m3, m4, m5, o0, o1, o2, o3 *line) {
	var p, q, r, s, t line
	add(&p, m1, m2)
	subtract(&q, m1, m2)
	add(&r, m3, m4)
	subtract(&s, m3, m4)
	add(&t, m0, &p)
	add(o0, &t, &r)
	fmaBy(&t, 2, &s, &q)
	multiplyBy(o1, a, &t)
	fmaBy(&t, 4, &r, &p)
	multiplyBy(o2, a2, &t)
	fmaBy(&t, 8, &s, &q)
	fmaBy(o3, a3, &t, m5)
}
