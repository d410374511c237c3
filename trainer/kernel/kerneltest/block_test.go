package kerneltest

import (
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

// A residual block, u -> x = conv(u, w1) -> z = relu(norm(x) + r) -> y = conv(z, w2), of fused convolutions: what goes back is the derivative of what goes forward, in every input. So the
// fusions' arguments are in their order, and unfused takes them for what they are.
func TestFusedConvolutionsAreABlockAndItsGradient(t *testing.T) {
	for name, added := range map[string]bool{"without an addition": false, "with an addition": true} {
		t.Run(name, func(t *testing.T) {
			c := &calculator{t, pretender{Set: ref.New(), t: t}, rand.New(rand.NewPCG(5, 5))}
			newBlock(c, added).check()
		})
	}
}

type block struct {
	*calculator
	first, second         kernel.Op // the convolutions, without a kind
	added                 bool
	u, w1, gamma, beta, r []float64
	w2, shift, dy, dz     []float64 // dz: what else comes back to z
}

func newBlock(c *calculator, added bool) *block {
	first := kernel.Op{Groups: 1, N: 3, C: 2, H: 5, W: 4, K: 3, R: 3, Stride: 2, Epsilon: 1e-3, Count: 18}
	second := kernel.Op{Groups: 1, N: 3, C: 3, H: 3, W: 2, K: 5, R: 3, Stride: 1, Epsilon: 1e-3}
	return &block{c, first, second, added, c.normal(120), c.normal(54), c.normal(3), c.normal(3), c.normal(54), c.normal(135), c.normal(3), c.normal(90), c.normal(54)}
}

func with(op kernel.Op, kind kernel.Kind, input, before, after kernel.Fusion) kernel.Op {
	op.Kind, op.Input, op.Before, op.After = kind, input, before, after
	return op
}

// forward gives x, its mean and variance, z (if something was added) and y.
func (b *block) forward() (x, mean, variance, z, y []float64) {
	s := b.do(with(b.first, kernel.ConvForward, 0, 0, kernel.Stats), b.u, b.w1, b.shift)
	x, mean, variance = s[0], s[1], s[2]
	if b.added {
		out := b.do(with(b.second, kernel.ConvForward, 0, kernel.NormAddReLU, 0), x, mean, variance, b.gamma, b.beta, b.r, b.w2)
		return x, mean, variance, out[0], out[1]
	}
	return x, mean, variance, nil, b.do(with(b.second, kernel.ConvForward, 0, kernel.NormReLU, 0), x, mean, variance, b.gamma, b.beta, b.w2)[0]
}

func (b *block) loss() float64 {
	_, _, _, z, y := b.forward()
	if b.added {
		return dot(b.dy, y) + dot(b.dz, z)
	}
	return dot(b.dy, y)
}

func (b *block) check() {
	x, mean, variance, z, _ := b.forward()
	var g [][]float64
	if b.added {
		g = b.do(with(b.second, kernel.ConvDataGrad, 0, 0, kernel.AddReLUNormSums), b.dy, b.w2, b.dz, z, x, mean, variance)
	} else {
		g = b.do(with(b.second, kernel.ConvDataGrad, 0, 0, kernel.ReLUNormSums), b.dy, b.w2, x, mean, variance, b.gamma, b.beta)
	}
	gradient := []any{g[0], x, mean, variance, b.gamma, g[1], g[2]}
	du := b.do(with(b.first, kernel.ConvDataGrad, 0, kernel.NormGrad, 0), append(append([]any{}, gradient...), b.w1)...)[0]
	dw1 := b.do(with(b.first, kernel.ConvWeightGrad, 0, kernel.NormGrad, 0), append([]any{b.u}, gradient...)...)[0]
	b.held("du", &b.u, du)
	b.held("dw1", &b.w1, dw1)
	b.held("dgamma", &b.gamma, g[1])
	b.held("dbeta", &b.beta, g[2])
	if b.added {
		b.held("dr", &b.r, g[0])
		return
	}
	b.held("dw2", &b.w2, b.do(with(b.second, kernel.ConvWeightGrad, kernel.NormReLU, 0, 0), x, mean, variance, b.gamma, b.beta, b.dy)[0])
}

// held holds gradient to the loss as a function of *v.
func (b *block) held(what string, v *[]float64, gradient []float64) {
	b.t.Helper()
	at := *v
	b.derivative(what, func(x []float64) float64 { *v = x; return b.loss() }, at, gradient)
	*v = at
}

// Squares of what is fused are those of the fused gradients of each image and function alone.
func TestFusedSquaresAreThoseOfFusedGradients(t *testing.T) {
	c := &calculator{t, pretender{Set: ref.New(), t: t}, rand.New(rand.NewPCG(6, 6))}
	op := kernel.Op{Groups: 1, N: 4, Repeat: 2, C: 2, H: 3, W: 2, K: 3, R: 3, Stride: 1, Epsilon: 1e-3}
	x, dy, z, dz, w, q := c.normal(24), c.normal(72), c.normal(24), c.normal(48), c.normal(54), c.normal(4)
	mean, variance, gamma, beta := []float64{0.1, -0.2}, []float64{0.5, 2}, []float64{-1.5, 0.7}, []float64{0.2, 0.1}
	variance2, gamma2 := []float64{0.3, 1, 2}, []float64{1, -1, 0.5}
	for _, v := range []struct {
		squares, gradient kernel.Op
		read              func(x, dy, z, dz []float64) []any
	}{
		{
			with(op, kernel.ConvSquares, kernel.NormReLU, kernel.NormEvalGrad, 0), with(op, kernel.ConvWeightGrad, kernel.NormReLU, kernel.NormEvalGrad, 0),
			func(x, dy, _, _ []float64) []any {
				return []any{x, mean, variance, gamma, beta, dy, variance2, gamma2}
			},
		}, {
			with(op, kernel.ConvDataGrad, 0, kernel.NormEvalGrad, kernel.ReLUNormSquares), with(op, kernel.ConvDataGrad, 0, kernel.NormEvalGrad, kernel.ReLUNormSums),
			func(x, dy, _, _ []float64) []any {
				return []any{dy, variance2, gamma2, w, x, mean, variance, gamma, beta}
			},
		}, {
			with(op, kernel.ConvDataGrad, 0, kernel.NormEvalGrad, kernel.AddReLUNormSquares), with(op, kernel.ConvDataGrad, 0, kernel.NormEvalGrad, kernel.AddReLUNormSums),
			func(x, dy, z, dz []float64) []any {
				return []any{dy, variance2, gamma2, w, dz, z, x, mean, variance}
			},
		},
	} {
		got := c.do(v.squares, append(v.read(x, dy, z, dz), q)...)
		v.gradient.N, v.gradient.Repeat = 1, 0
		for n := range q {
			i := n / 2
			alone := c.do(v.gradient, v.read(x[12*i:12*i+12], dy[18*n:18*n+18], z[12*i:12*i+12], dz[12*n:12*n+12])...)
			want := q[n]
			for _, g := range alone[len(got)-1:] {
				want += dot(g, g)
			}
			c.close(v.squares.String(), got[len(got)-1][n:n+1], []float64{want}, 1e-12)
			if len(got) == 2 {
				c.close("g", got[0][12*n:12*n+12], alone[0], 1e-12)
			}
		}
	}
}
