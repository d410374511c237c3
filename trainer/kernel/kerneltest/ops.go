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
	kernel.ConvSquares:      func(r *rand.Rand) kernel.Op { return repeated(r, conv(r)) },
	kernel.NormStats:        normStats,
	kernel.NormSums:         func(r *rand.Rand) kernel.Op { o := image(r); o.GroupStride = stride(r, 2*o.C); return o },
	kernel.NormFinish:       normFinish,
	kernel.NormForward:      func(r *rand.Rand) kernel.Op { o := batchNorm(r); o.GroupStride = shared(r, o.C); return o },
	kernel.NormGradSums:     func(r *rand.Rand) kernel.Op { o := batchNorm(r); o.GroupStride = stride(r, o.C); return o },
	kernel.NormDataGrad:     normDataGrad,
	kernel.NormEvalDataGrad: batchNorm,
	kernel.NormSquares:      func(r *rand.Rand) kernel.Op { return repeated(r, batchNorm(r)) },
	kernel.ReLU:             numbers,
	kernel.ReLUGrad:         func(r *rand.Rand) kernel.Op { return repeated(r, numbers(r)) },
	kernel.Add:              numbers,
	kernel.ShortcutForward:  shortcut,
	kernel.ShortcutGrad:     shortcut,
	kernel.PoolForward:      image,
	kernel.PoolGrad:         image,
	kernel.LinearForward:    linear,
	kernel.LinearDataGrad:   linear,
	kernel.LinearWeightGrad: func(r *rand.Rand) kernel.Op { o := linear(r); o.GroupStride = stride(r, o.K*o.C); return o },
	kernel.LinearBiasGrad:   func(r *rand.Rand) kernel.Op { o := logits(r); o.GroupStride = stride(r, o.K); return o },
	kernel.LinearSquares:    func(r *rand.Rand) kernel.Op { return repeated(r, linear(r)) },
	kernel.QuadraticForward: loss,
	kernel.QuadraticGrad:    loss,
	kernel.KDForward:        loss,
	kernel.KDGrad:           loss,
	kernel.CEForward:        loss,
	kernel.CEGrad:           loss,
	kernel.Correct:          func(r *rand.Rand) kernel.Op { o := logits(r); o.GroupStride = stride(r, 1); return o },
	kernel.Gather: func(r *rand.Rand) kernel.Op {
		o := elementwise(r)
		o.K = between(r, 1, 40000)
		return o
	},
	kernel.OneHot:    func(r *rand.Rand) kernel.Op { o := logits(r); o.N *= o.K; return o },
	kernel.Flatten:   image,
	kernel.Unflatten: image,
	kernel.Zero:      numbers,
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
	kernel.GaussianNoise:  func(r *rand.Rand) kernel.Op { return drawn(r, 1, 3*r.Float64()) },
	kernel.SymmetricNoise: func(r *rand.Rand) kernel.Op { return drawn(r, 2, []float64{1, r.Float64()}[r.IntN(2)]) },
}

func between(r *rand.Rand, least, most int) int { return least + r.IntN(most-least+1) }

// few is between least and most too, and mostly near least.
func few(r *rand.Rand, least, most int) int {
	u := r.Float64()
	return least + int(float64(most-least+1)*u*u)
}

func groups(r *rand.Rand) kernel.Op { return kernel.Op{Groups: between(r, 1, 4), N: few(r, 1, 19)} }

func image(r *rand.Rand) kernel.Op {
	o := groups(r)
	o.C, o.H, o.W = few(r, 1, 70), extent(r), extent(r)
	return affordable(r, o, 1, kernel.Op.Len, 1<<15)
}

// extent is a height or width.
func extent(r *rand.Rand) int {
	if r.IntN(12) == 0 {
		return 32
	}
	return between(r, 1, 17)
}

// affordable makes op smaller until it costs no more than most; its channels stay at least so many.
func affordable(r *rand.Rand, o kernel.Op, channels int, cost func(kernel.Op) int, most int) kernel.Op {
	for cost(o) > most {
		switch r.IntN(6) {
		case 0:
			o.Groups = (o.Groups + 1) / 2
		case 1:
			o.N = (o.N + 1) / 2
		case 2:
			o.H = (o.H + 1) / 2
		case 3:
			o.W = (o.W + 1) / 2
		case 4:
			o.C = max(channels, o.C*2/3)
		case 5:
			o.K = max(min(channels, o.K), o.K*2/3)
		}
	}
	return o
}

// conv is half the time of the shapes that lend themselves to Winograd's algorithm (window 3, stride 1, enough channels), of many pixels or of many channels, and else of any.
func conv(r *rand.Rand) kernel.Op {
	o, least := groups(r), 1
	o.H, o.W, o.R, o.Stride = extent(r), extent(r), 3, 1
	switch r.IntN(4) {
	case 0:
		o.Groups, o.N, o.C, o.K, least = between(r, 1, 2), between(r, 1, 19), few(r, 8, 24), few(r, 8, 24), 8
	case 1:
		o.Groups, o.N, o.C, o.K, least = between(r, 1, 2), between(r, 1, 2), between(r, 17, 70), between(r, 17, 70), 17
	default:
		o.C, o.K, o.R, o.Stride = few(r, 1, 70), few(r, 1, 70), 1+2*r.IntN(3), between(r, 1, 3)
	}
	products := func(o kernel.Op) int { return o.Groups * o.N * o.C * o.K * o.R * o.R * o.OutH() * o.OutW() }
	return affordable(r, o, least, products, 1<<20)
}

func shortcut(r *rand.Rand) kernel.Op {
	o := image(r)
	o.K, o.Stride = o.C+r.IntN(8), between(r, 1, 3)
	return o
}

// repeated has the gradients of up to 3 functions of an image.
func repeated(r *rand.Rand, o kernel.Op) kernel.Op {
	o.Repeat = r.IntN(4)
	o.N = (o.N + o.Repeats() - 1) / o.Repeats() * o.Repeats()
	return o
}

// numbers are an activation, or any numbers.
func numbers(r *rand.Rand) kernel.Op {
	if r.IntN(3) == 0 {
		o := elementwise(r)
		o.Block = 1
		return o
	}
	return image(r)
}

func batchNorm(r *rand.Rand) kernel.Op {
	o := image(r)
	o.Epsilon = 1e-5
	return o
}

func normStats(r *rand.Rand) kernel.Op {
	o := image(r)
	o.N = max(o.N, 2)
	o.RecordStride = stride(r, 2*o.C)
	return o
}

func normFinish(r *rand.Rand) kernel.Op {
	c := between(r, 1, 9)
	return kernel.Op{Groups: between(r, 1, 4), C: c, Count: between(r, 2, 5000), RecordStride: stride(r, 2*c)}
}

func normDataGrad(r *rand.Rand) kernel.Op {
	o := batchNorm(r)
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

// drawn is a noise: none at all, once in a while.
func drawn(r *rand.Rand, classes int, scale float64) kernel.Op {
	o := logits(r)
	o.K, o.Seed = max(o.K, classes), r.Uint64()
	if r.IntN(4) > 0 {
		o.Scale = scale
	}
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
