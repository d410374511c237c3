// Package ols is the linear-regression study of the paper ("Implicit Regularization Effects of Unbiased Random Label Noises with SGD", 2021, Section 3 and Figure 1): mini-batch SGD on
// L(beta) = 1/(2N) sum_i (x_i' beta - y_i)^2 over N samples that are drawn once, with the exact theory of the discrete chain beside it.
package ols

import "errors"

// What a caller may act on, wrapped with what is wrong in words.
var (
	ErrSetting  = errors.New("bad setting")                             // Check found something: every fault of a setting is one of these
	ErrSigma    = errors.New("not a covariance")                        // Sigma is not square, symmetric and positive definite; also an ErrSetting
	ErrSingular = errors.New("the samples do not fix beta")             // X'X is singular, or so near to it that least squares has no digits
	ErrOptions  = errors.New("chains cannot be run with these options") // of Run
)

// Noise that is refreshed: the values of Setting.Refresh.
const (
	Once      = "once"      // the labels are noised once, as in the paper
	Iteration = "iteration" // every place of every batch gets noise of its own
)

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
	Hessian      [][]float64 // [d][d]: H = X'X/N, of the loss
	Noise        [][]float64 // [d][d]: covariance of the batch's gradient at the least-squares solution
	Covariance   [][]float64 // [d][d]: stationary covariance; nil where Radius2 >= 1, to within rounding
	Paper        [][]float64 // [d][d]: the paper's approximation (Eq. 20), around beta*: see Approximation
	Radius1      float64     // spectral radius of the mean's recursion
	Radius2      float64     // of the second moments' (d^2 x d^2, on symmetric matrices): the mean square settles iff < 1
	Radius4      float64     // of the fourth moments': an empirical covariance settles as 1/sqrt(K) iff < 1; 0 where it was skipped
	Skipped      string      // why Radius4 was not computed; "": it was
	Limit        float64     // the learning rate at which Radius2 is 1, all else equal: the mean square settles iff eta is below
	Mixing       float64     // iterations in which the slowest mean decays by e; +Inf where Radius1 >= 1
	Mixing2      float64     // likewise of the second moments
	Tail         float64     // alpha of P(|e| > t) ~ t^-alpha, beyond which there are no moments (tailExponent); 0 where it is above 8, or above 4 and d > 3, or unknown
	Apart        *Apart      // where Covariance and Paper part; nil where either has no variance
}

// Options of a run.
type Options struct {
	Iterations int64            // K >= 1
	Start      []float64        // [d]: beta_0; nil: zeros (the paper does not say)
	Keep       bool             // keep the paths
	Thin       int              // keep every Thin-th iterate, from the Thin-th on; 0: 1, all
	Burn       int64            // iterations that are left out of the moments; 0: as many as AutomaticBurn says
	Threads    int              // chains that run at one time; 0: as many as Go may use. No bit depends on it
	Progress   func(done int64) // told now and then, from any goroutine but never by two at once, how many iterations of all chains together are done; may be nil
}

// Path is a chain that was run.
type Path struct {
	Beta            []float64   // [kept][d], every Thin-th iterate; nil where it was not kept
	Thin            int         // 1: all
	K               int64       // iterations that were run; fewer than asked for only where Diverged
	Burn            int64       // iterations left out of the moments: several mixing times
	Mean            []float64   // [d] over iterations after Burn; nil where Diverged
	Covariance      [][]float64 // [d][d], likewise, over their number (not one less)
	MeanError       []float64   // [d]: standard errors of Mean by batch means; nil where there are too few iterations for Segments
	CovarianceError [][]float64 // [d][d]: of Covariance, likewise; of no meaning where Radius4 >= 1
	Segments        int         // stretches of equal length whose means give the errors
	Last            []float64   // [d]: the last iterate
	Diverged        bool        // the last iterate, K, exceeded 1e150 or is no number
}
