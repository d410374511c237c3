package vector

import "unsafe"

// oracle is the primitives once more, as straight loops over the formulas of the contract, number by number.
var oracle = Set{
	Name: "oracle",
	Multiply: func(p *Product, v, u, m *float32, _ *uintptr, _ *float32) {
		for pos := range p.Positions {
			for t := range p.Rows {
				for j := range p.Cols {
					var s float32
					for k := range p.Depth {
						s = fma(get(v, pos*p.LeftPosition+t*p.LeftRow+k), get(u, pos*p.RightPosition+k*p.Cols+j), s)
					}
					put(m, pos*p.OutPosition+t*p.Cols+j, s)
				}
			}
		}
	},
	Accumulate: func(p *Product, v, q, s *float32, _ *uintptr, first bool) {
		for pos := range p.Positions {
			for i := range p.Rows {
				for j := range p.Cols {
					to := pos*p.OutPosition + i*p.Cols + j
					if first {
						put(s, to, 0)
					}
					for t := range p.Depth {
						put(s, to, fma(get(v, pos*p.LeftPosition+t*p.LeftRow+i), get(q, pos*p.RightPosition+t*p.Cols+j), get(s, to)))
					}
				}
			}
		}
	},

	InputTiles: func(x *float32, row int, v *float32, position, tile, n int) {
		eachLane(n, func(t, l int) {
			transform(6, 6, 6, oracleInput, func(i, j int) float32 { return get(x, i*row+(4*t+j)*Lanes+l) },
				func(i, j int, o float32) { put(v, (6*i+j)*position+tile*t+l, o) })
		})
	},
	GradTiles: func(y *float32, row int, q *float32, position, tile, n int) {
		eachLane(n, func(t, l int) {
			transform(4, 4, 6, oracleGrad, func(i, j int) float32 { return get(y, i*row+(4*t+j)*Lanes+l) },
				func(i, j int, o float32) { put(q, (6*i+j)*position+tile*t+l, o) })
		})
	},
	OutputTiles: func(m *float32, position, tile int, y *float32, row, n int) {
		eachLane(n, func(t, l int) {
			transform(6, 6, 4, oracleOutput, func(i, j int) float32 { return get(m, (6*i+j)*position+tile*t+l) },
				func(i, j int, o float32) { put(y, i*row+(4*t+j)*Lanes+l, o) })
		})
	},
	WeightTiles: func(w *float32, lane, lanes int, flip bool, step int, u *float32, position, next, n int) {
		eachLane(n, func(k, l int) {
			tap := func(i, j int) float32 {
				if flip {
					return get(w, k*step+l*lane+8-(3*i+j))
				}
				return get(w, k*step+l*lane+3*i+j)
			}
			if l >= lanes {
				for p := range 36 {
					put(u, p*position+k*next+l, 0)
				}
				return
			}
			transform(3, 3, 6, oracleWeight, tap, func(i, j int, o float32) { put(u, (6*i+j)*position+k*next+l, o) })
		})
	},
	WeightGradTiles: func(s *float32, position int, dw *float32, tap, n int) {
		eachLane(n, func(v, l int) {
			transform(6, 6, 3, oracleWeightGrad, func(i, j int) float32 { return get(s, (6*i+j)*position+v*Lanes+l) },
				func(i, j int, o float32) { put(dw, (3*i+j)*tap+v*Lanes+l, o) })
		})
	},

	Norm: func(y, x, scale, shift *float32, n int) {
		eachLane(n, func(i, l int) { put(y, i*Lanes+l, fma(get(x, i*Lanes+l), get(scale, l), get(shift, l))) })
	},
	NormReLU: func(y, x, scale, shift *float32, n int) {
		eachLane(n, func(i, l int) { put(y, i*Lanes+l, oracleReLU(fma(get(x, i*Lanes+l), get(scale, l), get(shift, l)))) })
	},
	NormAddReLU: func(y, z, x, r, scale, shift *float32, n int) {
		eachLane(n, func(i, l int) {
			o := oracleReLU(fma(get(x, i*Lanes+l), get(scale, l), get(shift, l)) + get(r, i*Lanes+l))
			put(y, i*Lanes+l, o)
			put(z, i*Lanes+l, o)
		})
	},
	NormGrad: func(dx, dy, x, scale, slope, shift *float32, n int) {
		eachLane(n, func(i, l int) {
			put(dx, i*Lanes+l, fma(get(dy, i*Lanes+l), get(scale, l), fma(get(x, i*Lanes+l), get(slope, l), get(shift, l))))
		})
	},
	Scale: func(y, x, scale *float32, n int) {
		eachLane(n, func(i, l int) { put(y, i*Lanes+l, float32(get(x, i*Lanes+l)*get(scale, l))) })
	},

	Sums: func(x, shift, acc *float32, n int) {
		eachLane(n, func(i, l int) {
			d := get(x, i*Lanes+l) - get(shift, l)
			oracleSums(acc, i, l, d, d)
		})
	},
	GradSums: func(dy, x, mean, acc *float32, n int) {
		eachLane(n, func(i, l int) { oracleSums(acc, i, l, get(dy, i*Lanes+l), get(x, i*Lanes+l)-get(mean, l)) })
	},
	NormReLUGradSums: func(g, dy, x, scale, shift, mean, acc *float32, n int) {
		eachLane(n, func(i, l int) {
			var o float32
			d := get(x, i*Lanes+l) - get(mean, l)
			if fma(get(x, i*Lanes+l), get(scale, l), get(shift, l)) > 0 {
				o = get(dy, i*Lanes+l)
			}
			put(g, i*Lanes+l, o)
			oracleSums(acc, i, l, o, d)
		})
	},
	AddReLUGradSums: func(g, dy, r, z, x, mean, acc *float32, n int) {
		eachLane(n, func(i, l int) {
			var o float32
			d := get(x, i*Lanes+l) - get(mean, l)
			if get(z, i*Lanes+l) > 0 {
				o = get(dy, i*Lanes+l) + get(r, i*Lanes+l)
			}
			put(g, i*Lanes+l, o)
			oracleSums(acc, i, l, o, d)
		})
	},

	Add: func(y, a, b *float32, n int) {
		for i := range n {
			put(y, i, get(a, i)+get(b, i))
		}
	},
	ReLU: func(y, x *float32, n int) {
		for i := range n {
			put(y, i, oracleReLU(get(x, i)))
		}
	},
	ReLUGrad: func(dx, dy, y *float32, n int) {
		for i := range n {
			var o float32
			if get(y, i) > 0 {
				o = get(dy, i)
			}
			put(dx, i, o)
		}
	},
	SGD: func(theta, v, g *float32, n int, momentum, decay, lr float32) {
		for i := range n {
			put(v, i, fma(momentum, get(v, i), fma(decay, get(theta, i), get(g, i))))
			put(theta, i, fma(-lr, get(v, i), get(theta, i)))
		}
	},
	Average: func(r, s *float32, n int, keep, take, scale float32) {
		for i := range n {
			put(r, i, fma(keep, get(r, i), float32(take*float32(scale*get(s, i)))))
		}
	},
}

func get(p *float32, i int) float32    { return *(*float32)(unsafe.Add(unsafe.Pointer(p), i*4)) }
func put(p *float32, i int, v float32) { *(*float32)(unsafe.Add(unsafe.Pointer(p), i*4)) = v }

func eachLane(n int, do func(i, lane int)) {
	for i := range n {
		for l := range Lanes {
			do(i, l)
		}
	}
}

// transform does one down the columns of in, [rows][cols], and then along the rows of the result.
func transform(rows, cols, out int, one func(in []float32) []float32, in func(i, j int) float32, result func(i, j int, o float32)) {
	down := make([][]float32, out) // [out][cols]
	for j := range cols {
		column := make([]float32, rows)
		for i := range column {
			column[i] = in(i, j)
		}
		for i, o := range one(column) {
			down[i] = append(down[i], o)
		}
	}
	for i, row := range down {
		for j, o := range one(row) {
			result(i, j, o)
		}
	}
}

func oracleInput(d []float32) []float32 {
	e, f, g, h := fma(-9./4, d[2], d[4]), fma(-9./4, d[1], d[3]), fma(-9./16, d[2], d[4]), fma(-9./16, d[1], d[3])
	return []float32{
		fma(81./64, d[0], fma(-45./16, d[2], d[4])), fma(3./4, f, e), fma(-3./4, f, e), fma(3./2, h, g), fma(-3./2, h, g),
		fma(81./64, d[1], fma(-45./16, d[3], d[5])),
	}
}

func oracleGrad(y []float32) []float32 {
	e, f, g, h := fma(9./16, y[2], y[0]), fma(9./16, y[3], y[1]), fma(9./4, y[2], y[0]), fma(9./4, y[3], y[1])
	return []float32{y[0], fma(3./4, f, e), fma(-3./4, f, e), fma(3./2, h, g), fma(-3./2, h, g), y[3]}
}

func oracleOutput(m []float32) []float32 {
	p, q, r, s := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return []float32{(m[0] + p) + r, float32(3. / 4 * fma(2, s, q)), float32(9. / 16 * fma(4, r, p)), fma(27./64, fma(8, s, q), m[5])}
}

func oracleWeight(g []float32) []float32 {
	e, f, p, q := fma(9./16, g[2], g[0]), float32(3./4*g[1]), fma(9./4, g[2], g[0]), float32(3./2*g[1])
	return []float32{
		float32(64. / 81 * g[0]), float32(-128. / 243 * (e + f)), float32(-128. / 243 * (e - f)), float32(32. / 243 * (p + q)), float32(32. / 243 * (p - q)), g[2],
	}
}

func oracleWeightGrad(s []float32) []float32 {
	p, q, r, t := s[1]+s[2], s[1]-s[2], s[3]+s[4], s[3]-s[4]
	return []float32{
		fma(-128./243, p, fma(32./243, r, float32(64./81*s[0]))),
		fma(-32./81, q, float32(16./81*t)),
		fma(-8./27, p, fma(8./27, r, s[5])),
	}
}

func oracleReLU(v float32) float32 {
	if v < 0 {
		return 0
	}
	return v
}

// oracleSums goes on with pixel i's accumulators of lane l.
func oracleSums(acc *float32, i, l int, a, b float32) {
	plain, products := i%4*Lanes+l, (4+i%4)*Lanes+l
	put(acc, plain, get(acc, plain)+a)
	put(acc, products, fma(a, b, get(acc, products)))
}
