// Package ols is the linear-regression study of the paper ("Implicit Regularization Effects of Unbiased Random Label Noises with SGD", 2021, Section 3 and Figure 1): mini-batch SGD on
// L(beta) = 1/(2N) sum_i (x_i' beta - y_i)^2 over N samples that are drawn once, with the exact theory of the discrete chain beside it.
package ols

// Setting is one chain: what is drawn, and how it is trained.
type Setting struct {
	Sigma       [][]float64 // covariance of x [d][d], symmetric and positive definite
	Sigma2      float64     // variance of the label noise; 0: none (the twin of a panel)
	N           int         // samples
	Batch       int         // B, samples of an iteration
	Eta         float64     // learning rate
	Replacement bool        // the batch is drawn with replacement; else without, as the paper does
	Refresh     string      // "once": the labels are noised once, as in the paper; "iteration": at every iteration anew
	Seed        uint64      // of X, noise and batches; settings with one seed share X's standard normals
	Stream      uint32      // number of the chain: chains of one seed draw their batches apart
}

// Data is what a Setting draws once.
type Data struct {
	X [][]float64 // [N][d]
	Y []float64   // [N]; with refresh=iteration without noise, which comes at each iteration
}

// Theory is exact for the chain on these N samples, not for the distribution from which they came.
type Theory struct {
	LeastSquares []float64   // [d]: the chain's stationary mean, (X'X)^-1 X'y
	Covariance   [][]float64 // [d][d]: stationary covariance; nil where Radius2 >= 1
	Paper        [][]float64 // [d][d]: the paper's approximation (Eq. 20): see Approximation
	Radius1      float64     // spectral radius of the mean's recursion
	Radius2      float64     // of the second moments' (d^2 x d^2, on symmetric matrices): the mean square settles iff < 1
	Radius4      float64     // of the fourth moments': an empirical covariance settles as 1/sqrt(K) iff < 1
	Mixing       float64     // iterations in which the slowest mean decays by e
}

// Path is a chain that was run.
type Path struct {
	Beta       []float64 // [kept][d], every Thin-th iterate; nil where it was not kept
	Thin       int       // 1: all
	K          int64     // iterations that were run
	Burn       int64     // iterations left out of the moments: several mixing times
	Mean       []float64 // [d] over iterations after Burn
	Covariance [][]float64
	Diverged   bool // a number became none, or exceeded 1e150
}
