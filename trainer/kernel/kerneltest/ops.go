package kerneltest

import (
	"math/rand/v2"

	"github.com/dither-ml/dither/trainer/kernel"
)

// ops make a random op of each kind: small, of odd sizes, more images than a block holds, any number of groups.
var ops = map[kernel.Kind]func(*rand.Rand) kernel.Op{
	kernel.View:             func(r *rand.Rand) kernel.Op { o := image(r); o.Pad = r.IntN(5); return o },
	kernel.ConvForward:      conv,
	kernel.ConvDataGrad:     conv,
	kernel.ConvWeightGrad:   func(r *rand.Rand) kernel.Op { o := conv(r); o.GroupStride = stride(r, o.K*o.C*o.R*o.R); return o },
	kernel.ConvSquares:      conv,
	kernel.NormStats:        normStats,
	kernel.NormSums:         func(r *rand.Rand) kernel.Op { o := image(r); o.GroupStride = stride(r, 2*o.C); return o },
	kernel.NormFinish:       normFinish,
	kernel.NormForward:      func(r *rand.Rand) kernel.Op { o := norm(r); o.GroupStride = shared(r, o.C); return o },
	kernel.NormGradSums:     func(r *rand.Rand) kernel.Op { o := norm(r); o.GroupStride = stride(r, o.C); return o },
	kernel.NormDataGrad:     normDataGrad,
	kernel.NormEvalDataGrad: norm,
	kernel.NormSquares:      norm,
	kernel.ReLU:             image,
	kernel.ReLUGrad:         image,
	kernel.Add:              image,
	kernel.ShortcutForward:  shortcut,
	kernel.ShortcutGrad:     shortcut,
	kernel.PoolForward:      image,
	kernel.PoolGrad:         image,
	kernel.LinearForward:    linear,
	kernel.LinearDataGrad:   linear,
	kernel.LinearWeightGrad: func(r *rand.Rand) kernel.Op { o := linear(r); o.GroupStride = stride(r, o.K*o.C); return o },
	kernel.LinearBiasGrad:   func(r *rand.Rand) kernel.Op { o := logits(r); o.GroupStride = stride(r, o.K); return o },
	kernel.LinearSquares:    linear,
	kernel.QuadraticForward: loss,
	kernel.QuadraticGrad:    loss,
	kernel.KDForward:        loss,
	kernel.KDGrad:           loss,
	kernel.CEForward:        loss,
	kernel.CEGrad:           loss,
	kernel.Correct:          func(r *rand.Rand) kernel.Op { o := logits(r); o.GroupStride = stride(r, 1); return o },
	kernel.OneHot:           func(r *rand.Rand) kernel.Op { o := logits(r); o.N *= o.K; return o },
	kernel.Flatten:          image,
	kernel.Unflatten:        image,
	kernel.Zero:             elementwise,
	kernel.SGD: func(r *rand.Rand) kernel.Op {
		o := elementwise(r)
		o.Momentum, o.WeightDecay = r.Float64(), 0.1*r.Float64()
		return o
	},
	kernel.RunningAverage: func(r *rand.Rand) kernel.Op {
		o := elementwise(r)
		o.Momentum, o.Scale = r.Float64(), 1/float64(1+r.IntN(7))
		return o
	},
}

func between(r *rand.Rand, least, most int) int { return least + r.IntN(most-least+1) }

func groups(r *rand.Rand) kernel.Op { return kernel.Op{Groups: between(r, 1, 4), N: between(r, 1, 19)} }

func image(r *rand.Rand) kernel.Op {
	o := groups(r)
	o.C, o.H, o.W = between(r, 1, 6), between(r, 1, 9), between(r, 1, 9)
	return o
}

func conv(r *rand.Rand) kernel.Op {
	o := image(r)
	o.K, o.R, o.Stride = between(r, 1, 9), 1+2*r.IntN(3), between(r, 1, 2)
	if r.IntN(8) == 0 {
		o.Stride = 3
	}
	if r.IntN(4) == 0 { // as wide as a network's, so that no kernel's tiles are all edges
		o.N, o.C, o.K, o.R = between(r, 1, 2), between(r, 12, 20), between(r, 12, 36), 3
	}
	return o
}

func shortcut(r *rand.Rand) kernel.Op {
	o := image(r)
	o.K, o.Stride = o.C+r.IntN(8), between(r, 1, 3)
	return o
}

func norm(r *rand.Rand) kernel.Op {
	o := image(r)
	o.Epsilon = 1e-5
	return o
}

func normStats(r *rand.Rand) kernel.Op {
	o := image(r)
	o.N = max(o.N, 2)
	o.GroupStride, o.RecordStride = stride(r, o.C), stride(r, 2*o.C)
	return o
}

func normFinish(r *rand.Rand) kernel.Op {
	c := between(r, 1, 9)
	return kernel.Op{Groups: between(r, 1, 4), C: c, Count: between(r, 2, 5000), RecordStride: stride(r, 2*c)}
}

func normDataGrad(r *rand.Rand) kernel.Op {
	o := norm(r)
	o.GroupStride, o.Count = shared(r, o.C), o.N*o.H*o.W
	if o.GroupStride == -1 {
		o.Count *= o.Groups
	}
	return o
}

func linear(r *rand.Rand) kernel.Op {
	o := logits(r)
	o.C, o.H, o.W = between(r, 1, 70), 1, 1
	return o
}

func logits(r *rand.Rand) kernel.Op {
	o := groups(r)
	o.K = between(r, 1, 21)
	return o
}

func loss(r *rand.Rand) kernel.Op {
	o := logits(r)
	o.Scale, o.Temperature = 1/float64(o.Groups*o.N), 1+3*r.Float64()
	return o
}

func elementwise(r *rand.Rand) kernel.Op { return kernel.Elementwise(0, between(r, 1, 40000)) }

// stride is a stride between the groups' parts: dense, said or not, or with gaps.
func stride(r *rand.Rand, part int) int {
	return []int{0, part, part + 1 + r.IntN(50)}[r.IntN(3)]
}

// shared is a stride, or -1.
func shared(r *rand.Rand, part int) int {
	if r.IntN(3) == 0 {
		return -1
	}
	return stride(r, part)
}

// refused are ops that make no sense, which every set refuses.
var refused = []kernel.Op{
	{Kind: 0, Groups: 1, N: 1, C: 1, H: 1, W: 1},
	{Kind: 200, Groups: 1, N: 1, C: 1, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 0, N: 1, C: 1, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 0, C: 1, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 1, C: 0, H: 1, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 1, C: 1, H: 0, W: 1},
	{Kind: kernel.ReLU, Groups: 1, N: 1, C: 1, H: 1, W: -1},
	{Kind: kernel.Add, Groups: 1 << 20, N: 1 << 20, C: 1 << 20, H: 1 << 20, W: 1},
	{Kind: kernel.View, Groups: 1, N: 1, C: 3, H: 4, W: 4, Pad: -1},
	{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 2, Stride: 1},
	{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 0, Stride: 1},
	{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 3, Stride: 0},
	{Kind: kernel.ConvDataGrad, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 0, R: 3, Stride: 1},
	{Kind: kernel.ConvWeightGrad, Groups: 2, N: 1, C: 1, H: 4, W: 4, K: 1, R: 3, Stride: 1, GroupStride: 8},
	{Kind: kernel.ConvWeightGrad, Groups: 2, N: 1, C: 1, H: 4, W: 4, K: 1, R: 3, Stride: 1, GroupStride: -1},
	{Kind: kernel.ConvSquares, Groups: 1, N: 1, C: 1, H: 4, W: 4, K: 1, R: 4, Stride: 1},
	{Kind: kernel.NormStats, Groups: 1, N: 1, C: 3, H: 1, W: 1},
	{Kind: kernel.NormStats, Groups: 2, N: 2, C: 3, H: 1, W: 1, RecordStride: 5},
	{Kind: kernel.NormFinish, Groups: 1, C: 3, Count: 1},
	{Kind: kernel.NormForward, Groups: 2, N: 2, C: 3, H: 1, W: 1, GroupStride: -2},
	{Kind: kernel.NormForward, Groups: 2, N: 2, C: 3, H: 1, W: 1, Epsilon: -1},
	{Kind: kernel.NormDataGrad, Groups: 2, N: 2, C: 3, H: 1, W: 1, Epsilon: 1},
	{Kind: kernel.ShortcutForward, Groups: 1, N: 1, C: 3, H: 4, W: 4, K: 2, Stride: 1},
	{Kind: kernel.ShortcutGrad, Groups: 1, N: 1, C: 3, H: 4, W: 4, K: 4, Stride: 0},
	{Kind: kernel.LinearForward, Groups: 1, N: 1, C: 3, H: 2, W: 1, K: 2},
	{Kind: kernel.LinearForward, Groups: 1, N: 1, C: 3, H: 1, W: 1, K: 0},
	{Kind: kernel.KDGrad, Groups: 1, N: 1, K: 3, Scale: 1},
	{Kind: kernel.CEForward, Groups: 1, N: 1, K: 0, Scale: 1},
	{Kind: kernel.OneHot, Groups: 1, N: 1, K: 3},
}
