package ols

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// The chain is beta <- beta - eta (1/B) sum over the batch of x (x'beta - y~), where y~ is the label, with refresh=iteration plus noise xi of variance sigma2 of that place's own. With
// betahat the least-squares solution, r_i = x_i'betahat - y_i (so sum_i x_i r_i = 0), e = beta - betahat, A = (1/B) sum x x' and g = (1/B) sum x (r - xi) over the batch:
//
//	e <- (I - eta A) e - eta g,        E A = H = X'X/N,        E g = 0.
//
// e depends on the batches before this one, A and g on this one alone.
//
// Mean: E e <- (I - eta H) E e, which goes to 0 iff Radius1 < 1. So the stationary mean is betahat, not beta*.
//
// Second moments: E ee' <- E[(I - eta A) ee' (I - eta A)] - eta (E[(I - eta A) e g'] + its transpose) + eta^2 E gg'. A and g come from one batch and are not independent; but they are
// independent of e, so that the cross term is linear in E e: E[(I - eta A) e g'] = E[(I - eta A) (E e) g'], which is 0 once E e is. So the stationary covariance S, if there is one, solves
//
//	S = E[(I - eta A) S (I - eta A)] + eta^2 C,        C = E gg'.
//
// It is linear in S; in the basis of moments.go its matrix is symmetric, with spectral radius Radius2, and positive definite after subtraction from I iff that is below 1.
//
// C: with one position of the batch, E[x x' r^2] = P/1, P = (1/N) sum r_i^2 x_i x_i'. Two positions are independent with replacement, and contribute nothing; without, they are different
// samples, and sum over i != j of x_i r_i r_j x_j' = 0 - N P. So C = P/B, without replacement times (N-B)/(N-1). Noise at each iteration adds E[(1/B^2) sum x x' xi^2] = sigma2 H/B.

// Theory computes what is known of the chain without running it. It needs samples that fix beta (ErrSingular).
func (s *Setting) Theory(data *Data) (*Theory, error) {
	if err := s.checkData(data); err != nil {
		return nil, err
	}
	d := s.dim()
	t := new(Theory)
	x := mat.NewDense(s.N, d, nil)
	for i, row := range data.X {
		x.SetRow(i, row)
	}
	solution, err := leastSquares(x, data.Y)
	if err != nil {
		return nil, err
	}
	t.LeastSquares = solution
	hessian := mat.NewSymDense(d, nil)
	hessian.SymOuterK(1/float64(s.N), x.T())
	noise := s.gradientNoise(data, solution, hessian)
	t.Hessian, t.Noise = rows(hessian), rows(noise)

	m := newMonomials(d, s.order())
	g := s.symbol(m, data.X)
	t.Radius1 = radius(m.moment(g, 1))
	t.Mixing = mixing(t.Radius1)
	second := m.moment(g, 2)
	t.Radius2 = radius(second)
	t.Mixing2 = mixing(t.Radius2)
	if t.Limit, err = s.limit(m, g); err != nil {
		return nil, err
	}
	if t.Radius2 < 1 {
		t.Covariance = m.stationary(second, noise, s.Eta)
	}
	t.Paper = Approximation(s)
	t.Apart = s.apart(t, data)
	if m.q < 4 {
		t.Skipped = fmt.Sprintf("fourth moments in d = %d dimensions need a matrix of %.3g rows; they are computed for d <= %d", d, binomial(d+3, 4), maxFourth)
		return t, nil
	}
	t.Radius4 = radius(m.moment(g, 4))
	if t.Radius2 < 1 {
		t.Tail = m.tailExponent(g)
	}
	return t, nil
}

// The largest d of which fourth moments are computed (a matrix of 330 rows), and eighth (45), which sharpen the tail's exponent.
const (
	maxFourth = 8
	maxEighth = 3
)

// order is up to which moments are computed.
func (s *Setting) order() int {
	switch d := s.dim(); {
	case d <= maxEighth:
		return 8
	case d <= maxFourth:
		return 4
	}
	return 2
}

// leastSquares is (X'X)^-1 X'y, by QR.
func leastSquares(x *mat.Dense, y []float64) ([]float64, error) {
	n, d := x.Dims()
	if n < d {
		return nil, fmt.Errorf("%w: there are N = %d of them in d = %d dimensions: draw at least d", ErrSingular, n, d)
	}
	var qr mat.QR
	qr.Factorize(x)
	if c := qr.Cond(); !(c < 1e12) {
		return nil, fmt.Errorf("%w: the condition number of X is %.2g: draw more, or choose Sigma nearer to a multiple of I", ErrSingular, c)
	}
	var beta mat.VecDense
	if err := qr.SolveVecTo(&beta, false, mat.NewVecDense(n, y)); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSingular, err)
	}
	return append([]float64(nil), beta.RawVector().Data...), nil
}

// gradientNoise is C. Labels that a beta fits to within rounding give none.
func (s *Setting) gradientNoise(data *Data, betahat []float64, hessian mat.Symmetric) *mat.SymDense {
	d := s.dim()
	c := mat.NewSymDense(d, nil)
	fitted := true
	for i, x := range data.X {
		r, size := residual(x, betahat, data.Y[i]), math.Abs(data.Y[i])
		for j, v := range x {
			size += math.Abs(v * betahat[j])
		}
		fitted = fitted && math.Abs(r) <= 0x1p-40*size
		c.SymRankOne(c, r*r, mat.NewVecDense(d, x))
	}
	if fitted {
		c.Zero()
	}
	c.ScaleSym(s.finite()/float64(s.N*s.Batch), c)
	if s.Refresh == Iteration {
		var fresh mat.SymDense
		fresh.ScaleSym(s.Sigma2/float64(s.Batch), hessian)
		c.AddSym(c, &fresh)
	}
	return c
}

// finite is by how much the batch's gradient varies less for being drawn without replacement.
func (s *Setting) finite() float64 {
	if s.Replacement {
		return 1
	}
	if s.N == 1 {
		return 0
	}
	return float64(s.N-s.Batch) / float64(s.N-1)
}

// residual is x'beta - y.
func residual(x, beta []float64, y float64) float64 {
	r := -y
	for j, v := range x {
		r += v * beta[j]
	}
	return r
}

// limit is the eta at which Radius2 is 1. The second moments' matrix is I - eta L + eta^2 Q, L and Q the parts of degrees 1 and 2 without their powers of eta: L positive definite, Q not
// negative. Its largest eigenvalue, which is its radius since it keeps covariances covariances, is convex in eta and 1 at 0, so it is 1 again once, where L - eta Q first is singular.
func (s *Setting) limit(m *monomials, g series) (float64, error) {
	l, q := m.operator(g[1], 1, 2), m.operator(g[2], 2, 2)
	l.ScaleSym(-1/s.Eta, l)
	q.ScaleSym(1/(s.Eta*s.Eta), q)
	var root mat.Cholesky
	if !root.Factorize(l) {
		return 0, fmt.Errorf("%w: the smallest curvature is lost in rounding", ErrSingular)
	}
	// L^-1 Q has the eigenvalues of U'^-1 Q U^-1, U'U = L, which is symmetric.
	var u mat.TriDense
	root.UTo(&u)
	size := l.SymmetricDim()
	half := mat.NewDense(size, size, nil)
	if err := half.Solve(u.T(), q); err != nil {
		return 0, fmt.Errorf("%w: %v", ErrSingular, err)
	}
	whole := new(mat.Dense)
	if err := whole.Solve(u.T(), half.T()); err != nil {
		return 0, fmt.Errorf("%w: %v", ErrSingular, err)
	}
	symmetric := mat.NewSymDense(size, nil)
	for i := range size {
		for j := i; j < size; j++ {
			symmetric.SetSym(i, j, (whole.At(i, j)+whole.At(j, i))/2)
		}
	}
	return 1 / radius(symmetric), nil
}

// stationary solves S = T(S) + eta^2 C. A covariance is the polynomial v'Sv, whose coefficient of v_i v_j in the basis of operator is S_ij, times sqrt(2) where i != j.
// It is nil where the radius is 1 to within rounding.
func (m *monomials) stationary(second *mat.SymDense, noise *mat.SymDense, eta float64) [][]float64 {
	size := second.SymmetricDim()
	system := mat.NewSymDense(size, nil)
	for i := range size {
		for j := i; j < size; j++ {
			v := -second.At(i, j)
			if i == j {
				v++
			}
			system.SetSym(i, j, v)
		}
	}
	right := mat.NewVecDense(size, nil)
	each := func(do func(i, j, number int, scale float64)) {
		for i := range m.d {
			for j := i; j < m.d; j++ {
				scale := 1.0
				if i != j {
					scale = math.Sqrt2
				}
				// Monomials of degree 1 are numbered v_0, v_1, ...
				do(i, j, int(m.sum[1][1][i][j]), scale)
			}
		}
	}
	each(func(i, j, number int, scale float64) { right.SetVec(number, scale*eta*eta*noise.At(i, j)) })
	var root mat.Cholesky
	var solution mat.VecDense
	if !root.Factorize(system) || root.SolveVecTo(&solution, right) != nil {
		return nil
	}
	out := square(m.d)
	each(func(i, j, number int, scale float64) {
		out[i][j] = solution.AtVec(number) / scale
		out[j][i] = out[i][j]
	})
	return out
}

// mixing is in how many iterations what has this radius decays by e.
func mixing(radius float64) float64 {
	if radius >= 1 {
		return math.Inf(1)
	}
	return -1 / math.Log(radius)
}

// tailExponent is alpha with E |M_k ... M_1 v|^alpha neither growing nor decaying in k, beyond which the stationary law has no moments (Kesten 1973). kappa(q) = log of the radius of q-th
// moments is convex, 0 at q = 0, negative at 2, and known at even q: alpha is the root above 2 of the polynomial through those. It is 0 where the highest moments known settle.
func (m *monomials) tailExponent(g series) float64 {
	at, kappa := []float64{0}, []float64{0}
	for q := 2; q <= m.q; q += 2 {
		at = append(at, float64(q))
		kappa = append(kappa, math.Log(radius(m.moment(g, q))))
	}
	last := slices.IndexFunc(kappa[1:], func(k float64) bool { return k >= 0 }) + 1
	if last < 2 {
		return 0
	}
	low, high := at[last-1], at[last]
	for range 60 {
		middle := (low + high) / 2
		if lagrange(at, kappa, middle) < 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// lagrange is the polynomial through (x, y), at t.
func lagrange(x, y []float64, t float64) float64 {
	sum := 0.0
	for i := range x {
		l := y[i]
		for j := range x {
			if j != i {
				l *= (t - x[j]) / (x[i] - x[j])
			}
		}
		sum += l
	}
	return sum
}

func binomial(n, k int) float64 { return factorial(n) / (factorial(k) * factorial(n-k)) }

// square is a matrix of zeros.
func square(d int) [][]float64 {
	out := make([][]float64, d)
	for i := range out {
		out[i] = make([]float64, d)
	}
	return out
}

func rows(a mat.Symmetric) [][]float64 {
	out := square(a.SymmetricDim())
	for i := range out {
		for j := range out {
			out[i][j] = a.At(i, j)
		}
	}
	return out
}
