// Package kernel is the contract between a program and what computes it. A kernel set (plain float64, plain Go, AVX, CUDA) owns memory,
// prepares kernels for given shapes and runs them in order on a stream. Nothing here reads a value back in mid-step: what a kernel
// needs from an earlier one it takes from memory, so that a whole step can be captured once and replayed.
//
// Groups. A trainer owns several shards and puts them through the network side by side: one launch covers all of them. Activations
// are dense over [Groups*N] images; what is computed over a shard (statistics, gradients, losses) has one part for each group. The
// numbers of a group never depend on how many groups there are.
//
// Activations. What has channels, height and width lies as the set likes it best: [images][ceil(C/Block)][H][W][Block], Block being Op.Block, the set's own
// (Traits). The channels of the last block beyond C are zeros (an infinity or a NaN may leave NaN there), and kernels both rely on that and keep it so. A Block of 1
// is plain [images][C][H][W]. What only goes from number to number (ReLU, ReLUGrad, Add, Zero) may be launched in a Block of 1 on every set.
//
// Precision. A set of half precision (Traits.Half) has its activations in bfloat16 (Op.Half): each is rounded to the nearest, ties to even, where it is stored, and nowhere else. All else is Real: weights, statistics, sums, gradients of
// parameters, losses. A convolution takes its weights packed, [R*R][K][C] in whole blocks of channels, zeros beyond the last, in bfloat16 (Op.Packing, Gather), and adds up its products as Real.
//
// Fusion. A convolution can do what stands before it in the network as it reads, and what stands behind it as it writes (Op.Before, Op.After), and a data gradient can make the weight gradient in the same sweep (Op.Beside), where the set's
// Traits say so. It gives the very bits of the kinds that it stands for, one after the other: fusion is no part of the arithmetic.
package kernel

import (
	"errors"
	"fmt"
)

// ErrUnsupported is what Prepare wraps for a shape that the set has no kernel for, and what a set's constructor wraps on a processor that lacks its instructions.
var ErrUnsupported = errors.New("not supported by this kernel set")

// Type is the type of a memory's elements.
type Type uint8

const (
	Real Type = iota // float32; float64 in the reference set
	Byte             // uint8 pixels
	Int              // int32 labels, geometry and indexes
	Half             // bfloat16, of sets with Traits.Half alone; the host's side of it is float32 or float64
)

// Size is an element's bytes; a Real counts as float32.
func (t Type) Size() int { return [...]int{Real: 4, Byte: 1, Int: 4, Half: 2}[t] }

// Memory is a piece of a set's memory, counted in elements. It belongs to the set that allocated it; another set's is a broken invariant and panics.
type Memory interface {
	Type() Type
	Len() int
	// Slice is the elements [from, to), sharing the memory.
	Slice(from, to int) Memory
}

// Set is a kernel set: one implementation of every Kind. Sets with the same Arithmetic give the same bits.
type Set interface {
	// Name is "ref", "generic", "avx2", "avx512" or "cuda".
	Name() string
	// Arithmetic is what fixes the bits, versioned: "cpu/2".
	Arithmetic() string
	// Alloc gives n zeroed elements, aligned to 64 bytes. An error says what was asked for and what is free. What launches take of Half is aligned to 16 elements, a workspace to 64 bytes, all else to its elements.
	Alloc(t Type, n int) (Memory, error)
	// Traits say how the set wants its ops.
	Traits() Traits
	// Prepare chooses the kernel for op, whose shapes it checks; an error wraps ErrUnsupported and names op.
	Prepare(op Op) (Kernel, error)
	// NewStream gives an ordered queue of work on the set.
	NewStream() Stream
	// Close releases threads and memory; no stream may be in use.
	Close()
}

// Traits say how a set wants its ops.
type Traits struct {
	Block int  // channels that lie side by side in an activation
	Half  bool // its activations are Half
	Fuses bool // it takes Op.Input, Before and After, every one, on any shape
	Apart bool // its streams work while the host goes on, side by side, and it pins memory; else what was enqueued is done
}

// Kernel is an Op ready to run, any number of times, from one stream at a time.
type Kernel interface {
	// Workspace is how many Real elements of scratch Launch takes as its last argument; 0: it takes none.
	Workspace() int
	// Launch enqueues the work. args are those of the Kind, in its order, then the workspace; each has at least the elements the Op says. It does not allocate and keeps no argument.
	Launch(s Stream, args []Memory)
}

// Stream is an ordered queue: what is enqueued later sees what was enqueued earlier. One goroutine uses a stream at a time.
type Stream interface {
	// Write enqueues a copy from the host into dst: []float32 or []float64 into Real or, rounded, Half, []uint8 into Byte, []int32 into Int, or what is Pinned; len(src) == dst.Len(). src may be reused after the next Sync.
	Write(dst Memory, src any)
	// Read enqueues a copy from src to the host: the same pairs of types. dst is filled after the next Sync.
	Read(dst any, src Memory)
	// Sync waits for all that was enqueued. An error is the device's, and final.
	Sync() error
	// Record takes what do enqueues here, and does not do it: launches, and copies from and to pinned memory or, of a set that pins none, any. what names it for people. do is called now or at
	// each Replay, and enqueues the same each time.
	Record(what string, do func()) Recording
	// Pin gives n elements of the host's memory for Write and Read, which then copy when the device comes to it: it may be used again after a Sync, or after a Mark that was set behind. nil: the
	// set copies as it is told, and any memory is as good.
	Pin(t Type, n int) (*Pinned, error)
	// NewMark gives a mark that was never set.
	NewMark() Mark
	// Host is m as the host sees it, where both share memory and Real is float32 (a CPU), valid between a Sync and the next enqueueing; else nil.
	Host(m Memory) []float32
}

// Kind names what a kernel computes. Below, G is Op.Groups, N the images of a group, M = G*N; C, H, W the channels, height and width of the
// *forward* op's input; K its output channels (or features, or classes); Ho, Wo its output's height and width. [M][C][H][W] is an activation, in blocks (above). "->" separates what is read from what
// is written. Outputs are overwritten, never accumulated into, unless it says so. An output marked "per group" has its groups' parts
// Op.GroupStride elements apart (0: dense). Sums over the images of a group are over blocks of a fixed number of images, then a fixed tree.
// No output may overlap an input, except where "in place" is said. In kinds that have gradients of Op.Repeat functions of one image side by side ("repeated"), image i
// of dy, df, dx and q belongs to image i/Repeat of what came from the forward pass (x, y).
type Kind uint8

const (
	// View: pixels Byte [M][C][H][W], geometry Int [M][3] (dy, dx in 0..2*Pad, flip 0 or 1), mean Real [C], std Real [C] -> x [M][C][H][W].
	// x = (pixel/255 - mean)/std; the image padded with Op.Pad zeros (after normalisation) on each side, cropped at (dy, dx), mirrored left to right if flip. (dy, dx) = (Pad, Pad) is the image itself.
	View Kind = iota + 1

	// ConvForward: x [M][C][H][W], w [K][C][R][R] -> y [M][K][Ho][Wo]. Cross-correlation, R odd, zero padding R/2, stride Op.Stride; Ho = (H-1)/Stride+1.
	ConvForward
	// ConvDataGrad: dy [M][K][Ho][Wo], w [K][C][R][R] -> dx [M][C][H][W].
	ConvDataGrad
	// ConvWeightGrad: x [M][C][H][W], dy [M][K][Ho][Wo] -> dw [K][C][R][R] per group.
	ConvWeightGrad
	// ConvSquares: x, dy as ConvWeightGrad -> q [M], added to: q_i += ||dw of image i alone||^2. Repeated.
	ConvSquares

	// NormStats: x [M][C][H][W], shift [C] -> mean [C] per group dense, variance [C] per group dense (biased), record [2][C] per group (RecordStride): mean, then unbiased variance. shift is near the mean, such as the running
	// one: the sums are of x - shift, so that a variance that is small beside the mean is still right.
	NormStats
	// NormSums, for statistics over the whole batch: x, shift [C] -> sums [2][C] per group: sum of (x - shift), sum of (x - shift)^2.
	NormSums
	// NormFinish: sums [2][C] over Op.Count elements a channel, shift [C] -> mean [C], variance [C] (each the same for all G groups, dense [G][C]), record [2][C] per group (RecordStride): (mean, unbiased variance).
	NormFinish
	// NormForward: x, mean [C] per group, variance [C] per group, gamma [C], beta [C] -> y. y = gamma (x - mean)/sqrt(variance + Epsilon) + beta. GroupStride is that of mean and variance: 0 dense, -1 one part shared by all groups (running statistics).
	NormForward
	// NormGradSums: dy, x, mean per group dense, variance per group dense -> dgamma [C] per group, dbeta [C] per group. dgamma = sum dy xhat, dbeta = sum dy.
	NormGradSums
	// NormDataGrad: dy, x, mean, variance (dense), gamma [C], dgamma, dbeta (GroupStride; -1: one part shared by all groups) -> dx. dx = gamma/sqrt(variance+Epsilon) (dy - dbeta/Count - xhat dgamma/Count); Count is the elements a channel that the statistics are over.
	NormDataGrad
	// NormEvalDataGrad: dy, variance [C], gamma [C] -> dx. Statistics are constants: dx = gamma/sqrt(variance+Epsilon) dy.
	NormEvalDataGrad
	// NormSquares: dy, x, mean [C], variance [C] -> q [M], added to: ||dgamma of image i||^2 + ||dbeta of image i||^2. Repeated.
	NormSquares

	// ReLU: x -> y, Op.Len() elements. In place allowed. NaN stays NaN.
	ReLU
	// ReLUGrad: dy, y (ReLU's output) -> dx = dy where y > 0 else 0. dx may be dy. Repeated.
	ReLUGrad
	// Add: a, b -> y = a + b, Op.Len() elements. y may be a or b.
	Add

	// ShortcutForward (option A): x [M][C][H][W] -> y [M][K][Ho][Wo]: every Stride-th row and column, (K-C)/2 channels of zeros in front and K-C-(K-C)/2 behind.
	ShortcutForward
	// ShortcutGrad: dy -> dx, zero where nothing was taken.
	ShortcutGrad

	// PoolForward: x [M][C][H][W] -> y [M][C], the mean over H and W.
	PoolForward
	// PoolGrad: dy [M][C] -> dx [M][C][H][W].
	PoolGrad
	// Flatten: x [M][C][H][W] -> y [M][C*H*W], plain.
	Flatten
	// Unflatten: dy [M][C*H*W] -> dx [M][C][H][W].
	Unflatten

	// LinearForward: x [M][C], w [K][C], b [K] -> y [M][K]. (H = W = 1; an image is C numbers.)
	LinearForward
	// LinearDataGrad: dy [M][K], w -> dx [M][C].
	LinearDataGrad
	// LinearWeightGrad: x, dy -> dw [K][C] per group.
	LinearWeightGrad
	// LinearBiasGrad: dy -> db [K] per group.
	LinearBiasGrad
	// LinearSquares: x, dy -> q [M], added to: ||dw of image i||^2 + ||db of image i||^2. Repeated.
	LinearSquares

	// QuadraticForward: f [M][K], y [M][K] -> loss [1] per group: Scale/2 sum ||f - y||^2 over the group. Scale is weight/B, B the whole batch.
	QuadraticForward
	// QuadraticGrad: f, y -> df [M][K] = Scale (f - y).
	QuadraticGrad
	// KDForward: f, y -> loss [1] per group: Scale T^2 sum KL(softmax(y/T) || softmax(f/T)).
	KDForward
	// KDGrad: f, y -> df = Scale T (softmax(f/T) - softmax(y/T)).
	KDGrad
	// CEForward: f, labels Int [M] -> loss [1] per group: Scale sum -log softmax(f)[label].
	CEForward
	// CEGrad: f, labels -> df = Scale (softmax(f) - onehot(label)).
	CEGrad
	// Correct: f, labels -> correct [1] per group: images whose first greatest logit is the label's; a NaN logit makes the image wrong.
	Correct

	// OneHot: -> df [M][K]: 1 at class i mod K of row i, 0 elsewhere. K divides N.
	OneHot
	// Zero: -> y = 0, Op.Len() elements.
	Zero

	// SGD, Op.Len() elements: theta, v, g, lr [1] -> theta, v in place. v = Momentum v + (g + WeightDecay theta); theta = theta - lr v.
	SGD
	// RunningAverage, Op.Len() elements: r, s -> r in place: r = (1 - Momentum) r + Momentum (Scale s).
	RunningAverage

	// Gather: x [C], index Int [K] -> y [K]: y_i = x[index_i], or 0 where index_i < 0. y is Half if Op.Half.
	Gather

	// GaussianNoise: y [M][K], samples Int [M], step Int [1] -> noisy [M][K]: y + Scale z, the normals z drawn by (Seed, step, sample): in docs/random.md, Gaussian, with Scale for sd. The words of
	// step and samples are unsigned. These two have the bits of package noise in every set whose Real is float32, whatever its arithmetic.
	GaussianNoise
	// SymmetricNoise: y, samples, step -> noisy, as GaussianNoise: each logit takes, with probability Scale, the value of another of its image's K >= 2: in docs/random.md, Symmetric, with Scale for p.
	SymmetricNoise
)

// Op is a kernel's description: comparable, so that equal ops share one kernel. Fields that a Kind does not mention are zero.
type Op struct {
	Kind         Kind
	Groups       int    // G
	N            int    // images of a group
	C, H, W      int    // of the forward op's input; elementwise ops: an image's elements are C*H*W
	K            int    // output channels, features or classes
	R            int    // height and width of a convolution's window
	Stride       int    // of a convolution or a shortcut
	Pad          int    // of a View
	Block        int    // channels side by side in an activation; 0: 1
	Half         bool   // activations and packed weights are Half, as is what a Gather gives
	Repeat       int    // gradients of an image, side by side; 0: 1
	GroupStride  int    // see Kind
	RecordStride int    // elements between the groups' parts of a NormStats or NormFinish record; 0: dense
	Count        int    // elements a channel that statistics are over
	Input        Fusion // what is done to the x of a weight gradient or ConvSquares as it is read
	Before       Fusion // what is done to the x of a ConvForward, or to the dy of its gradients, as it is read
	After        Fusion // what is done to a ConvForward's or ConvDataGrad's output as it is written
	Beside       Fusion // what else a ConvDataGrad makes of its dy
	BeforeStride int    // elements between the groups' parts of NormGrad's dgamma and dbeta; 0: dense; -1: one part shared by all, which NormReLU and NormAddReLU have too
	AfterStride  int    // elements between the groups' parts of the dgamma and dbeta that After makes; 0: dense
	Epsilon      float64
	Scale        float64
	Temperature  float64
	Momentum     float64
	WeightDecay  float64
	Seed         uint64 // of a noise
}

// Fusion is what a convolution does beside its own work; see Op.Before and Op.After. norm(x) is NormForward of x; per group statistics lie dense unless BeforeStride is -1.
type Fusion uint8

const (
	Alone Fusion = iota

	// Before of ConvForward, Input of ConvWeightGrad, of ConvDataGrad with a weight gradient beside it, and of ConvSquares; in the place of the argument x:

	// NormReLU: x, mean, variance (dense; of ConvForward also one part, BeforeStride -1), gamma, beta in the place of x, which becomes relu(norm(x)).
	NormReLU
	// NormAddReLU, of ConvForward alone: x, mean, variance, gamma, beta, r in the place of x, which becomes relu(norm(x) + r); that is the first output too, before y.
	NormAddReLU

	// Before of ConvDataGrad, ConvWeightGrad and ConvSquares; in the place of the argument dy:

	// NormGrad: dy, xn, mean, variance, gamma, dgamma, dbeta (BeforeStride; -1: shared) in the place of dy, which becomes NormDataGrad of them with Op.Count.
	NormGrad
	// NormEvalGrad: dy, variance, gamma in the place of dy, which becomes NormEvalDataGrad of them.
	NormEvalGrad

	// After of ConvForward:

	// Stats: the argument shift behind the inputs; mean, variance and record behind y: NormStats of y (RecordStride).
	Stats
	// Sums: the argument shift behind the inputs; sums behind y: NormSums of y.
	Sums

	// After of ConvDataGrad, in the place of the output dx; dgamma and dbeta have AfterStride:

	// ReLUNormSums: xn, mean, variance, gamma, beta behind the inputs -> g, dgamma, dbeta: g = dx where norm(xn) > 0, else 0; dgamma, dbeta are NormGradSums of g.
	ReLUNormSums
	// AddReLUNormSums: r, z, xn, mean, variance behind the inputs -> g, dgamma, dbeta: g = dx + r where z > 0, else 0; dgamma, dbeta are NormGradSums of g.
	AddReLUNormSums
	// ReLUNormSquares: xn, mean, variance, gamma, beta (one part) behind the inputs -> g, q (added to): g as in ReLUNormSums, repeated; q is NormSquares of g.
	ReLUNormSquares
	// AddReLUNormSquares: r, z, xn, mean, variance (one part) behind the inputs -> g, q (added to): g as in AddReLUNormSums, repeated; q is NormSquares of g.
	AddReLUNormSquares

	// Beside of ConvDataGrad:

	// WeightGrad: x, with what Input makes of it, behind all inputs -> dw (GroupStride) behind all results: ConvWeightGrad of x and the same dy, with the same Before.
	WeightGrad
)

var fusionNames = [...]string{"", "NormReLU", "NormAddReLU", "NormGrad", "NormEvalGrad", "Stats", "Sums", "ReLUNormSums", "AddReLUNormSums", "ReLUNormSquares", "AddReLUNormSquares", "WeightGrad"}

func (f Fusion) String() string {
	if int(f) < len(fusionNames) {
		return fusionNames[f]
	}
	return fmt.Sprintf("Fusion(%d)", uint8(f))
}

// Padded is channels c up to whole blocks.
func (o Op) Padded(c int) int {
	b := max(o.Block, 1)
	return (c + b - 1) / b * b
}

// Packing is, for each element of a convolution's packed weights [R*R][K][C], in whole blocks of channels, which of w [K][C][R][R] it is; -1: none, it is 0.
func (o Op) Packing() []int32 {
	index := make([]int32, 0, o.R*o.R*o.Padded(o.K)*o.Padded(o.C))
	for tap := range o.R * o.R {
		for k := range o.Padded(o.K) {
			for c := range o.Padded(o.C) {
				from := (k*o.C+c)*o.R*o.R + tap
				if k >= o.K || c >= o.C {
					from = -1
				}
				index = append(index, int32(from))
			}
		}
	}
	return index
}

// Repeats is the gradients of an image.
func (o Op) Repeats() int { return max(o.Repeat, 1) }

// Len is the elements of an elementwise op: Groups*N images of C*H*W, in whole blocks.
func (o Op) Len() int { return o.Groups * o.N * o.Padded(o.C) * o.H * o.W }

// OutH is the output height of a convolution or shortcut.
func (o Op) OutH() int { return (o.H-1)/o.Stride + 1 }

// OutW is the output width of a convolution or shortcut.
func (o Op) OutW() int { return (o.W-1)/o.Stride + 1 }

// Elementwise is the shape of an elementwise op over n elements.
func Elementwise(k Kind, n int) Op { return Op{Kind: k, Groups: 1, N: 1, C: n, H: 1, W: 1} }

// String names the op and its shapes for people.
func (o Op) String() string {
	s := o.Kind.String()
	for _, f := range []Fusion{o.Input, o.Before, o.After, o.Beside} {
		if f != Alone {
			s += "+" + f.String()
		}
	}
	s += fmt.Sprintf(" %dx%dx%dx%dx%d", o.Groups, o.N, o.C, o.H, o.W)
	if o.K > 0 {
		s += fmt.Sprintf(" to %d", o.K)
	}
	if o.R > 0 {
		s += fmt.Sprintf(", window %d", o.R)
	}
	if o.Stride > 1 {
		s += fmt.Sprintf(", stride %d", o.Stride)
	}
	return s
}

var kindNames = [...]string{"none", "View", "ConvForward", "ConvDataGrad", "ConvWeightGrad", "ConvSquares",
	"NormStats", "NormSums", "NormFinish", "NormForward", "NormGradSums", "NormDataGrad", "NormEvalDataGrad", "NormSquares",
	"ReLU", "ReLUGrad", "Add", "ShortcutForward", "ShortcutGrad", "PoolForward", "PoolGrad", "Flatten", "Unflatten",
	"LinearForward", "LinearDataGrad", "LinearWeightGrad", "LinearBiasGrad", "LinearSquares",
	"QuadraticForward", "QuadraticGrad", "KDForward", "KDGrad", "CEForward", "CEGrad", "Correct", "OneHot", "Zero", "SGD", "RunningAverage", "Gather", "GaussianNoise", "SymmetricNoise"}

// Kinds are all kinds, in order: a suite runs each.
func Kinds() []Kind {
	ks := make([]Kind, 0, len(kindNames)-1)
	for k := View; int(k) < len(kindNames); k++ {
		ks = append(ks, k)
	}
	return ks
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}
