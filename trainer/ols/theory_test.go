package ols

import (
	"errors"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// tiny is a setting whose batches can all be listed.
func tiny(replacement bool, refresh string) Setting {
	return Setting{
		Sigma: [][]float64{{2, 0.5}, {0.5, 1}}, Sigma2: 0.5, N: 6, Batch: 2, Eta: 0.15, Replacement: replacement, Refresh: refresh, Seed: 3, Stream: 1,
	}
}

// batches lists all, each as likely as any other.
func batches(s Setting) [][]int {
	var all [][]int
	var list func(batch []int)
	list = func(batch []int) {
		if len(batch) == s.Batch {
			all = append(all, append([]int(nil), batch...))
			return
		}
		for i := range s.N {
			if !s.Replacement && len(batch) > 0 && i <= batch[len(batch)-1] {
				continue
			}
			list(append(batch, i))
		}
	}
	list(nil)
	return all
}

// kronecker is the q-fold Kronecker power.
func kronecker(a *mat.Dense, q int) *mat.Dense {
	out := mat.NewDense(1, 1, []float64{1})
	for range q {
		next := new(mat.Dense)
		next.Kronecker(out, a)
		out = next
	}
	return out
}

// listed is the theory by listing every batch: Kronecker powers on all tensors, symmetric or not; the symmetric ones hold the largest eigenvalue, for the others are less.
func listed(t *testing.T, s Setting, data *Data, betahat []float64) (moment map[int]*mat.Dense, c *mat.Dense) {
	t.Helper()
	d := s.dim()
	moment = map[int]*mat.Dense{}
	for _, q := range []int{1, 2, 4} {
		n := int(math.Pow(float64(d), float64(q)))
		moment[q] = mat.NewDense(n, n, nil)
	}
	c = mat.NewDense(d, d, nil)
	all := batches(s)
	for _, batch := range all {
		m := mat.NewDense(d, d, nil)
		g := make([]float64, d)
		for j := range d {
			m.Set(j, j, 1)
		}
		for _, i := range batch {
			x := data.X[i]
			r := residual(x, betahat, data.Y[i])
			for a := range d {
				g[a] += x[a] * r / float64(s.Batch)
				for b := range d {
					m.Set(a, b, m.At(a, b)-s.Eta/float64(s.Batch)*x[a]*x[b])
					if s.Refresh == Iteration {
						c.Set(a, b, c.At(a, b)+s.Sigma2*x[a]*x[b]/float64(s.Batch*s.Batch))
					}
				}
			}
		}
		for a := range d {
			for b := range d {
				c.Set(a, b, c.At(a, b)+g[a]*g[b])
			}
		}
		for q := range moment {
			moment[q].Add(moment[q], kronecker(m, q))
		}
	}
	for q := range moment {
		moment[q].Scale(1/float64(len(all)), moment[q])
	}
	c.Scale(1/float64(len(all)), c)
	return moment, c
}

// spectral is the spectral radius of a general matrix.
func spectral(t *testing.T, a *mat.Dense) float64 {
	t.Helper()
	var e mat.Eigen
	if !e.Factorize(a, mat.EigenNone) {
		t.Fatal("no eigenvalues")
	}
	largest := 0.0
	for _, v := range e.Values(nil) {
		largest = math.Max(largest, math.Hypot(real(v), imag(v)))
	}
	return largest
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*math.Max(1, math.Abs(want))) {
		t.Errorf("%s is %.17g, want %.17g", what, got, want)
	}
}

func TestTheoryAgainstEveryBatch(t *testing.T) {
	three := tiny(false, Once)
	three.Sigma, three.Batch, three.Eta = [][]float64{{2, 0.5, 0}, {0.5, 1, -0.3}, {0, -0.3, 1.5}}, 3, 0.1
	all := tiny(false, Iteration)
	all.Batch = 6
	one := tiny(false, Once)
	one.Batch = 1
	many := tiny(true, Iteration)
	many.Batch = 5
	wide := tiny(true, Once)
	wide.Eta = 0.9
	for _, s := range []Setting{tiny(false, Once), tiny(true, Once), tiny(false, Iteration), tiny(true, Iteration), three, all, one, many, wide} {
		data, err := s.Draw()
		if err != nil {
			t.Fatal(err)
		}
		theory, err := s.Theory(data)
		if err != nil {
			t.Fatal(err)
		}
		d := s.dim()
		for j := range d {
			sum := 0.0
			for i, x := range data.X {
				sum += x[j] * residual(x, theory.LeastSquares, data.Y[i])
			}
			near(t, "the gradient at least squares", sum, 0, 1e-12)
		}
		moment, c := listed(t, s, data, theory.LeastSquares)
		near(t, "Radius1", theory.Radius1, spectral(t, moment[1]), 1e-12)
		near(t, "Radius2", theory.Radius2, spectral(t, moment[2]), 1e-12)
		near(t, "Radius4", theory.Radius4, spectral(t, moment[4]), 1e-12)
		for a := range d {
			for b := range d {
				near(t, "Noise", theory.Noise[a][b], c.At(a, b), 1e-12)
			}
		}
		if theory.Radius2 >= 1 {
			if theory.Covariance != nil {
				t.Error("a chain whose mean square grows has a covariance")
			}
			continue
		}
		// vec S = T vec S + eta^2 vec C.
		system := mat.NewDense(d*d, d*d, nil)
		right := mat.NewVecDense(d*d, nil)
		for a := range d * d {
			for b := range d * d {
				system.Set(a, b, -moment[2].At(a, b))
			}
			system.Set(a, a, 1+system.At(a, a))
			right.SetVec(a, s.Eta*s.Eta*c.At(a/d, a%d))
		}
		var want mat.VecDense
		if err := want.SolveVec(system, right); err != nil {
			t.Fatal(err)
		}
		for a := range d {
			for b := range d {
				near(t, "Covariance", theory.Covariance[a][b], want.AtVec(a*d+b), 1e-12)
			}
		}
		// At the limit the radius is 1, by the same formula that was checked above.
		s.Eta = theory.Limit
		at, err := s.Theory(data)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "Radius2 at the limit", at.Radius2, 1, 1e-9)
	}
}

// In many dimensions the second moments follow from first principles another way: simulated by iterating the exact map on matrices.
func TestTheoryInManyDimensions(t *testing.T) {
	d := 12
	s := Setting{Sigma: square(d), Sigma2: 1, N: 40, Batch: 4, Eta: 0.02, Refresh: Once, Seed: 9}
	for j := range d {
		s.Sigma[j][j] = 1 + float64(j)/4
	}
	data, err := s.Draw()
	if err != nil {
		t.Fatal(err)
	}
	theory, err := s.Theory(data)
	if err != nil {
		t.Fatal(err)
	}
	if theory.Radius2 >= 1 || theory.Covariance == nil || theory.Radius4 != 0 || !strings.Contains(theory.Skipped, "d <= 8") {
		t.Fatalf("theory of d = 12: radii %v, %v, skipped %q", theory.Radius2, theory.Radius4, theory.Skipped)
	}
	// E[A S A] over batches: pairs of positions, the same one or two.
	S := mat.NewDense(d, d, nil)
	for a := range d {
		for b := range d {
			S.Set(a, b, theory.Covariance[a][b])
		}
	}
	n, b := float64(s.N), float64(s.Batch)
	mean, same := mat.NewDense(d, d, nil), mat.NewDense(d, d, nil)
	for _, row := range data.X {
		x := mat.NewVecDense(d, row)
		var one mat.Dense
		one.Outer(1/n, x, x)
		mean.Add(mean, &one)
		one.Outer(mat.Inner(x, S, x)/n, x, x)
		same.Add(same, &one)
	}
	var hs, hsh, other mat.Dense
	hs.Mul(mean, S)
	hsh.Mul(&hs, mean)
	other.Scale(n*n, &hsh)
	other.Sub(&other, scaled(n, same))
	other.Scale(1/(n*(n-1)), &other)
	for i := range d {
		for j := range d {
			asa := (same.At(i, j) + (b-1)*other.At(i, j)) / b
			got := S.At(i, j) - s.Eta*(hs.At(i, j)+hs.At(j, i)) + s.Eta*s.Eta*(asa+theory.Noise[i][j])
			near(t, "one iteration of the covariance", got, S.At(i, j), 1e-13)
		}
	}
}

func scaled(c float64, a *mat.Dense) *mat.Dense {
	out := new(mat.Dense)
	out.Scale(c, a)
	return out
}

func TestTheoryRefuses(t *testing.T) {
	s := tiny(false, Once)
	s.N, s.Batch = 1, 1
	data, err := s.Draw()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Theory(data); !errors.Is(err, ErrSingular) {
		t.Errorf("one sample in two dimensions: %v", err)
	}
	s.N = 3
	data = &Data{X: [][]float64{{1, 2}, {2, 4}, {-1, -2}}, Y: []float64{1, 2, 3}}
	if _, err := s.Theory(data); !errors.Is(err, ErrSingular) {
		t.Errorf("three samples on a line: %v", err)
	}
	s.N = 4
	if _, err := s.Theory(data); !errors.Is(err, ErrSetting) {
		t.Errorf("data of another number: %v", err)
	}
}
