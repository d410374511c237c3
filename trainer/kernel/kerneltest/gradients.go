package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Gradients holds a set whose Real is float64 to its own forward kinds: every gradient kind is the derivative, by central differences along a random
// direction, and every kind that sums squares is the norm of a gradient kind. This is what makes the reference one.
func Gradients(t *testing.T, set kernel.Set) {
	c := &calculator{t, set, rand.New(rand.NewPCG(7, 7))}
	t.Run("conv", func(*testing.T) { c.conv() })
	t.Run("norm", func(*testing.T) { c.norm() })
	t.Run("normOverAll", func(*testing.T) { c.normOverAll() })
	t.Run("linear", func(*testing.T) { c.linear() })
	t.Run("shapes", func(*testing.T) { c.shapes() })
	t.Run("losses", func(*testing.T) { c.losses() })
}

type calculator struct {
	t   *testing.T
	set kernel.Set
	r   *rand.Rand
}

func (c *calculator) normal(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = c.r.NormFloat64()
	}
	return v
}

// do runs op on what it reads, in order: []float64 or []int32; it gives what was written.
func (c *calculator) do(op kernel.Op, read ...any) (written [][]float64) {
	c.t.Helper()
	var in []data
	for _, v := range read {
		switch v := v.(type) {
		case []float64:
			in = append(in, data{real: v})
		case []int32:
			in = append(in, data{ints: v})
		}
	}
	for _, d := range launched(c.t, c.set, op, in...) {
		written = append(written, d.real)
	}
	return written
}

func dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func along(x []float64, h float64, v []float64) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = x[i] + h*v[i]
	}
	return y
}

// derivative holds gradient to f at x.
func (c *calculator) derivative(what string, f func(x []float64) float64, x, gradient []float64) {
	c.t.Helper()
	const h = 1e-4
	for range 3 {
		v := c.normal(len(x))
		want := (8*(f(along(x, h, v))-f(along(x, -h, v))) - (f(along(x, 2*h, v)) - f(along(x, -2*h, v)))) / (12 * h)
		c.close(what, []float64{dot(gradient, v)}, []float64{want}, 1e-8)
	}
}

func (c *calculator) close(what string, got, want []float64, limit float64) {
	c.t.Helper()
	off := math.Sqrt(dot(along(got, -1, want), along(got, -1, want)))
	if size := math.Sqrt(dot(want, want)); !(off <= limit*(1+size)) || len(got) != len(want) {
		c.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func (c *calculator) conv() {
	for range 8 {
		op := conv(c.r)
		op.Groups, op.N, op.C, op.K = 1, 2, 1+op.C%4, 1+op.K%4
		kind := func(k kernel.Kind) kernel.Op { o := op; o.Kind = k; return o }
		x, w := c.normal(op.Len()), c.normal(op.K*op.C*op.R*op.R)
		dy := c.normal(op.N * op.K * op.OutH() * op.OutW())
		y := func(x, w []float64) float64 { return dot(dy, c.do(kind(kernel.ConvForward), x, w)[0]) }
		c.derivative("ConvDataGrad", func(x []float64) float64 { return y(x, w) }, x, c.do(kind(kernel.ConvDataGrad), dy, w)[0])
		c.derivative("ConvWeightGrad", func(w []float64) float64 { return y(x, w) }, w, c.do(kind(kernel.ConvWeightGrad), x, dy)[0])
		c.squares(kind(kernel.ConvSquares), kind(kernel.ConvWeightGrad))
	}
}

// squares holds a kind that adds up squares to the gradient of each image alone, for two functions of each; its first two arguments are images.
func (c *calculator) squares(op, gradient kernel.Op, rest ...any) {
	c.t.Helper()
	op.Repeat, op.N = 2, 2*op.N
	q := c.normal(op.Groups * op.N)
	args := op.Args()
	images := []data{{real: c.normal(args[0].Len())}, {real: c.normal(args[1].Len())}}
	got := c.do(op, append([]any{images[0].real, images[1].real}, append(rest, q)...)...)[0]
	gradient.Groups, gradient.N = 1, 1
	for n := range q {
		var alone []any
		for i, v := range images {
			at, of := n, len(q)
			if args[i].Name == "x" { // of the forward pass
				at, of = at/op.Repeat, of/op.Repeat
			}
			alone = append(alone, v.real[at*len(v.real)/of:(at+1)*len(v.real)/of])
		}
		want := q[n]
		for _, g := range c.do(gradient, append(alone, rest...)...) {
			want += dot(g, g)
		}
		c.close(op.Kind.String(), got[n:n+1], []float64{want}, 1e-12)
	}
}

func (c *calculator) norm() {
	op := kernel.Op{Groups: 1, N: 3, C: 2, H: 3, W: 2, Count: 18, Epsilon: 1e-3}
	kind := func(k kernel.Kind) kernel.Op { o := op; o.Kind = k; return o }
	x, gamma, beta, dy := c.normal(op.Len()), c.normal(op.C), c.normal(op.C), c.normal(op.Len())
	forward := func(x, gamma, beta []float64) float64 {
		s := c.do(kind(kernel.NormStats), x, gamma)
		return dot(dy, c.do(kind(kernel.NormForward), x, s[0], s[1], gamma, beta)[0])
	}
	s := c.do(kind(kernel.NormStats), x, gamma)
	d := c.do(kind(kernel.NormGradSums), dy, x, s[0], s[1])
	c.derivative("dgamma", func(g []float64) float64 { return forward(x, g, beta) }, gamma, d[0])
	c.derivative("dbeta", func(b []float64) float64 { return forward(x, gamma, b) }, beta, d[1])
	c.derivative("NormDataGrad", func(x []float64) float64 { return forward(x, gamma, beta) }, x,
		c.do(kind(kernel.NormDataGrad), dy, x, s[0], s[1], gamma, d[0], d[1])[0])

	mean, variance := c.normal(op.C), []float64{0.5, 2}
	running := func(x []float64) float64 {
		return dot(dy, c.do(kind(kernel.NormForward), x, mean, variance, gamma, beta)[0])
	}
	c.derivative("NormEvalDataGrad", running, x, c.do(kind(kernel.NormEvalDataGrad), dy, variance, gamma)[0])
	c.squares(kind(kernel.NormSquares), kind(kernel.NormGradSums), mean, variance)
}

// normOverAll: statistics over all groups by NormSums and NormFinish are those of one big group, and the record's are as it defines them.
func (c *calculator) normOverAll() {
	op := kernel.Op{Groups: 3, N: 4, C: 2, H: 2, W: 3, Count: 72}
	kind := func(k kernel.Kind) kernel.Op { o := op; o.Kind = k; return o }
	x, shift := c.normal(op.Len()), c.normal(op.C)
	sums := make([]float64, 2*op.C)
	for i, v := range c.do(kind(kernel.NormSums), x, shift)[0] {
		sums[i%len(sums)] += v
	}
	one := kind(kernel.NormStats)
	one.Groups, one.N = 1, op.Groups*op.N
	want, got := c.do(one, x, shift), c.do(kind(kernel.NormFinish), sums, shift)
	for g := range op.Groups {
		c.close("mean", got[0][g*2:g*2+2], want[0], 1e-12)
		c.close("variance", got[1][g*2:g*2+2], want[1], 1e-12)
		c.close("record", got[2][g*4:g*4+4], want[2], 1e-12)
	}
	unbiased := []float64{want[0][0], want[0][1], want[1][0] * 72 / 71, want[1][1] * 72 / 71}
	c.close("record", want[2], unbiased, 1e-12)
}

func (c *calculator) linear() {
	op := kernel.Op{Groups: 1, N: 3, C: 4, H: 1, W: 1, K: 5}
	kind := func(k kernel.Kind) kernel.Op { o := op; o.Kind = k; return o }
	x, w, b, dy := c.normal(12), c.normal(20), c.normal(5), c.normal(15)
	y := func(x, w, b []float64) float64 { return dot(dy, c.do(kind(kernel.LinearForward), x, w, b)[0]) }
	c.derivative("LinearDataGrad", func(x []float64) float64 { return y(x, w, b) }, x, c.do(kind(kernel.LinearDataGrad), dy, w)[0])
	c.derivative("LinearWeightGrad", func(w []float64) float64 { return y(x, w, b) }, w, c.do(kind(kernel.LinearWeightGrad), x, dy)[0])
	c.derivative("LinearBiasGrad", func(b []float64) float64 { return y(x, w, b) }, b, c.do(kind(kernel.LinearBiasGrad), dy)[0])

	// The last layer's weights and biases make one gradient: a bias is the weight of an input that is 1.
	wide, squares := kind(kernel.LinearWeightGrad), kind(kernel.LinearSquares)
	wide.C++
	wide.N, squares.N, squares.Repeat = 1, 6, 2
	dy = c.normal(30)
	q := c.do(squares, x, dy, make([]float64, 6))[0]
	for n := range q {
		dw := c.do(wide, append(append([]float64(nil), x[4*(n/2):4*(n/2)+4]...), 1), dy[5*n:5*n+5])[0]
		c.close("LinearSquares", q[n:n+1], []float64{dot(dw, dw)}, 1e-12)
	}
}

// shapes holds the kinds that are linear maps to their transposes.
func (c *calculator) shapes() {
	for _, pair := range [][2]kernel.Kind{{kernel.ShortcutForward, kernel.ShortcutGrad}, {kernel.PoolForward, kernel.PoolGrad}, {kernel.ReLU, kernel.ReLUGrad}} {
		forward := kernel.Op{Kind: pair[0], Groups: 1, N: 2, C: 3, H: 5, W: 4, K: 6, Stride: 2}
		backward := forward
		backward.Kind = pair[1]
		x := c.normal(forward.Len())
		y := c.do(forward, x)[0]
		dy := c.normal(len(y))
		read := []any{dy}
		if pair[0] == kernel.ReLU {
			read = append(read, y)
			for i := range x { // away from the corner
				x[i] = math.Copysign(math.Abs(x[i])+0.1, x[i])
			}
		}
		c.derivative(pair[1].String(), func(x []float64) float64 { return dot(dy, c.do(forward, x)[0]) }, x, c.do(backward, read...)[0])
	}
}

func (c *calculator) losses() {
	op := kernel.Op{Groups: 1, N: 3, K: 4, Scale: 0.3, Temperature: 2.5}
	f, y, labels := c.normal(12), c.normal(12), []int32{3, 0, 2}
	for _, v := range []struct {
		loss, gradient kernel.Kind
		target         any
	}{
		{kernel.QuadraticForward, kernel.QuadraticGrad, y},
		{kernel.KDForward, kernel.KDGrad, y},
		{kernel.CEForward, kernel.CEGrad, labels},
	} {
		forward, backward := op, op
		forward.Kind, backward.Kind = v.loss, v.gradient
		c.derivative(v.gradient.String(), func(f []float64) float64 { return c.do(forward, f, v.target)[0][0] }, f, c.do(backward, f, v.target)[0])
	}
}
