package ols

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// Approximation is the paper's stationary covariance (Eq. 20), which belongs round beta*. It follows from the continuous-time limit of small eta with label noise alone:
//
//	d beta = -H (beta - beta*) dt + sqrt(eta sigma2 H / B) dW,
//
// an Ornstein-Uhlenbeck process, in which an iteration takes time eta and the batch's gradient has covariance sigma2 H / B. Its covariance S solves H S + S H = eta sigma2 H / B, so
//
//	S = eta sigma2 / (2B) I,
//
// whatever Sigma is. Where the exact answer parts from it, and by how much, is in Apart.
func Approximation(s *Setting) [][]float64 {
	out := square(s.dim())
	for i := range out {
		out[i][i] = s.Eta * s.Sigma2 / (2 * float64(s.Batch))
	}
	return out
}

// Apart is where the exact law parts from the paper's approximation. The trace of the exact covariance is that of the paper's times Residual, Finite, Shape and Step.
type Apart struct {
	Centre   float64 // |betahat - beta*|: labels that are noised once have their own solution; in units of the paper's standard deviation of one coordinate
	Residual float64 // mean square residual at betahat over sigma2: the d parameters fit some of the noise, and N draws of it are not its variance; 1 with refresh=iteration
	Finite   float64 // (N-B)/(N-1) where labels are noised once and batches drawn without replacement: the noise of a batch is what it lacks of the whole; else 1
	Shape    float64 // the noise's covariance is (1/N) sum r^2 x x', not that of r times that of x: large residuals may sit at large x
	Step     float64 // iterations are steps of size eta, and their matrices are those of batches: what the continuous limit leaves out
}

// apart compares them; nil where either has no variance.
func (s *Setting) apart(t *Theory, data *Data) *Apart {
	if s.Sigma2 == 0 || t.Covariance == nil {
		return nil
	}
	a := &Apart{Residual: 1, Finite: 1}
	for _, b := range t.LeastSquares {
		a.Centre += (b - 1) * (b - 1)
	}
	a.Centre = math.Sqrt(a.Centre / t.Paper[0][0])
	if s.Refresh == Once {
		sum := 0.0
		for i, x := range data.X {
			r := residual(x, t.LeastSquares, data.Y[i])
			sum += r * r
		}
		a.Residual = sum / float64(s.N) / s.Sigma2
		a.Finite = s.finite()
	}
	product := a.Residual * a.Finite * trace(t.Paper)
	continuous := trace(limiting(t, s.Eta))
	if !(product > 0 && continuous > 0) {
		return nil
	}
	a.Shape = continuous / product
	a.Step = trace(t.Covariance) / continuous
	return a
}

// limiting is the covariance of the continuous-time limit with the noise that the chain has: H S + S H = eta C, solved where H is diagonal.
func limiting(t *Theory, eta float64) [][]float64 {
	d := len(t.Hessian)
	h := mat.NewSymDense(d, nil)
	c := mat.NewDense(d, d, nil)
	for i := range d {
		for j := range d {
			h.SetSym(i, j, t.Hessian[i][j])
			c.Set(i, j, t.Noise[i][j])
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(h, true) {
		return square(d)
	}
	var v, turned, back mat.Dense
	eigen.VectorsTo(&v)
	turned.Mul(v.T(), c)
	turned.Mul(&turned, &v)
	values := eigen.Values(nil)
	for i, x := range values {
		for j, y := range values {
			turned.Set(i, j, eta*turned.At(i, j)/(x+y))
		}
	}
	back.Mul(&v, &turned)
	back.Mul(&back, v.T())
	out := square(d)
	for i := range out {
		mat.Row(out[i], i, &back)
	}
	return out
}

func trace(a [][]float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i][i]
	}
	return sum
}
