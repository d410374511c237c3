package ols

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// The moments of the chain's error e = beta - betahat go by e <- M e with M = I - eta A, A = (1/B) sum of x x' over the batch. What M does to q-th moments is what it does to polynomials:
// with f(v) = E (v'e)^q, homogeneous of degree q, one iteration makes E f(M v) of f(v), for M is symmetric. By Taylor's theorem f(M v) = f(v - eta A v) = :exp(-eta v'A D): f, where D is
// the gradient and the colons say that derivatives act before v multiplies. So the operator has the symbol
//
//	G(v, w) = E exp(-eta v'A w) = E prod over the batch of exp t_i,    t_i = -(eta/B) (x_i'v)(x_i'w),
//
// a power series whose terms above degree q in w annihilate f. Its expectation over batches needs no batch to be listed: with z_i = exp t_i - 1, which has no constant term,
//
//	with replacement:     G = (1 + p_1/N)^B = sum_m C(B, m) (p_1/N)^m
//	without:              G = sum_m [B(B-1)...(B-m+1) / (N(N-1)...(N-m+1))] e_m
//
// where p_n = sum_i z_i^n, and e_m, the sum over sets of m samples of the product of their z, comes from p_1, ..., p_m by Newton's identities. Only m <= q counts. And z^n is a series in t,
// so that all is made of sum_i t_i^k, k <= q: O(N) in the samples, whatever the batch.

// monomials numbers those of each degree up to q in d variables.
type monomials struct {
	d, q     int
	exponent [][][]int     // [degree][number][d]
	sum      [][][][]int32 // [degree a][degree b][number][number]: the number of the product, of degree a+b; nil where a+b > q
}

func newMonomials(d, q int) *monomials {
	m := &monomials{d: d, q: q, exponent: make([][][]int, q+1), sum: make([][][][]int32, q+1)}
	number := map[string]int32{}
	name := func(e []int) string {
		b := make([]byte, d)
		for i, v := range e {
			b[i] = byte(v)
		}
		return string(b)
	}
	for n := range m.exponent {
		var list func(e []int, left int)
		list = func(e []int, left int) {
			if len(e) == d-1 {
				whole := append(append([]int(nil), e...), left)
				number[name(whole)] = int32(len(m.exponent[n]))
				m.exponent[n] = append(m.exponent[n], whole)
				return
			}
			for v := left; v >= 0; v-- {
				list(append(e, v), left-v)
			}
		}
		list(nil, n)
	}
	product := make([]int, d)
	for a := range q + 1 {
		m.sum[a] = make([][][]int32, q+1)
		for b := 0; a+b <= q; b++ {
			table := make([][]int32, len(m.exponent[a]))
			for i, x := range m.exponent[a] {
				table[i] = make([]int32, len(m.exponent[b]))
				for j, y := range m.exponent[b] {
					for c := range product {
						product[c] = x[c] + y[c]
					}
					table[i][j] = number[name(product)]
				}
			}
			m.sum[a][b] = table
		}
	}
	return m
}

// factorial of a multi-index: the product of its factorials.
func factorial(exponents ...int) float64 {
	f := 1.0
	for _, e := range exponents {
		f *= math.Gamma(float64(e) + 1)
	}
	return f
}

// series is a polynomial in (v, w), by degree n (the same in v and in w): [n][monomial of v][monomial of w]. A nil degree is 0.
type series []*mat.Dense

// add gives s + c*t, in s.
func (s series) add(c float64, t series) {
	for n, part := range t {
		if part == nil || c == 0 {
			continue
		}
		if s[n] == nil {
			r, k := part.Dims()
			s[n] = mat.NewDense(r, k, nil)
		}
		var scaled mat.Dense
		scaled.Scale(c, part)
		s[n].Add(s[n], &scaled)
	}
}

// times is a*b without what is above degree q.
func (m *monomials) times(a, b series) series {
	out := make(series, m.q+1)
	for na, pa := range a {
		for nb, pb := range b {
			n := na + nb
			if pa == nil || pb == nil || n > m.q {
				continue
			}
			if out[n] == nil {
				out[n] = mat.NewDense(len(m.exponent[n]), len(m.exponent[n]), nil)
			}
			sum := m.sum[na][nb]
			for i, rows := range sum {
				for j := range sum {
					x := pa.At(i, j)
					if x == 0 {
						continue
					}
					for k, row := range rows {
						target := out[n].RawRowView(int(row))
						for l, y := range pb.RawRowView(k) {
							target[sum[j][l]] += x * y
						}
					}
				}
			}
		}
	}
	return out
}

// powers are sum_i t_i^k for k = 1..q, each homogeneous of degree k; [k], and [0] is nil.
func (m *monomials) powers(x [][]float64, scale float64) series {
	out := make(series, m.q+1)
	for k := 1; k <= m.q; k++ {
		features := mat.NewDense(len(x), len(m.exponent[k]), nil)
		for i, sample := range x {
			row := features.RawRowView(i)
			for j, e := range m.exponent[k] {
				v := factorial(k) / factorial(e...)
				for c, times := range e {
					for range times {
						v *= sample[c]
					}
				}
				row[j] = v
			}
		}
		out[k] = new(mat.Dense)
		out[k].Mul(features.T(), features)
		out[k].Scale(math.Pow(scale, float64(k)), out[k])
	}
	return out
}

// symbol is G above, by degree.
func (s *Setting) symbol(m *monomials, x [][]float64) series {
	t := m.powers(x, -s.Eta/float64(s.Batch))
	n, b := float64(s.N), float64(s.Batch)
	one := mat.NewDense(1, 1, []float64{1})
	z := make([]float64, m.q+1) // coefficients of exp(t) - 1
	for k := 1; k <= m.q; k++ {
		z[k] = 1 / factorial(k)
	}
	p := make([]series, m.q+1) // [n]: sum_i z_i^n
	for order, c := 1, z; order <= m.q; order++ {
		p[order] = make(series, m.q+1)
		for k, v := range c {
			if v != 0 {
				p[order][k] = new(mat.Dense)
				p[order][k].Scale(v, t[k])
			}
		}
		next := make([]float64, m.q+1)
		for i, v := range c {
			for j := 1; i+j <= m.q; j++ {
				next[i+j] += v * z[j]
			}
		}
		c = next
	}
	e := make([]series, m.q+1)
	e[0] = make(series, m.q+1)
	e[0][0] = one
	out := make(series, m.q+1)
	out.add(1, e[0])
	weight := 1.0
	for order := 1; order <= m.q && order <= s.Batch; order++ {
		e[order] = make(series, m.q+1)
		if s.Replacement {
			// (p_1/N)^order / order! times B(B-1)...: the binomial.
			weight *= (b - float64(order) + 1) / n
			e[order].add(1/float64(order), m.times(e[order-1], p[1]))
		} else {
			weight *= (b - float64(order) + 1) / (n - float64(order) + 1)
			for i := 1; i <= order; i++ {
				sign := float64(1 - 2*((i-1)%2))
				e[order].add(sign/float64(order), m.times(e[order-i], p[i]))
			}
		}
		out.add(weight, e[order])
	}
	return out
}

// operator is the part of the symbol of one degree n, as it acts on polynomials of degree q, in the basis of the monomials v^g times sqrt(q!/g!): orthonormal for the inner product of
// symmetric tensors, so that the matrix is symmetric, as M's tensor power is. v^a D^b makes g!/(g-b)! v^(g-b+a) of v^g.
func (m *monomials) operator(part *mat.Dense, n, q int) *mat.SymDense {
	size := len(m.exponent[q])
	out := mat.NewSymDense(size, nil)
	if part == nil {
		return out
	}
	root := make([]float64, size)
	for g, e := range m.exponent[q] {
		root[g] = math.Sqrt(factorial(e...))
	}
	for rest, e := range m.exponent[q-n] {
		c := 1 / factorial(e...)
		for a := range m.exponent[n] {
			to := int(m.sum[n][q-n][a][rest])
			for b := range m.exponent[n] {
				if from := int(m.sum[n][q-n][b][rest]); from >= to {
					out.SetSym(to, from, out.At(to, from)+c*root[to]*root[from]*part.At(a, b))
				}
			}
		}
	}
	return out
}

// moment is the map of q-th moments: the sum of the operators.
func (m *monomials) moment(g series, q int) *mat.SymDense {
	out := m.operator(g[0], 0, q)
	for n := 1; n <= q; n++ {
		out.AddSym(out, m.operator(g[n], n, q))
	}
	return out
}

// radius is the largest absolute eigenvalue.
func radius(a *mat.SymDense) float64 {
	var eigen mat.EigenSym
	if !eigen.Factorize(a, false) {
		return math.NaN()
	}
	values := eigen.Values(nil)
	return math.Max(math.Abs(values[0]), math.Abs(values[len(values)-1]))
}
