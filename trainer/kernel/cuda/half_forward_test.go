//go:build gpu

package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// mostShared is the bytes of shared memory that a block can have on compute capability 8.0.
const mostShared = 163 << 10

func conv(groups, n, c, h, w, k, r, stride int) kernel.Op {
	return kernel.Op{Kind: kernel.ConvForward, Groups: groups, N: n, C: c, H: h, W: w, K: k, R: r, Stride: stride, Block: lanes, Half: true}
}

// ResNet-56 fills an H200 at batch 64, with at least two blocks of threads a multiprocessor side by side, and has no more of them than there is work for at batch 1024.
func TestForwardConvolutionsFillTheGPU(t *testing.T) {
	for _, o := range []kernel.Op{
		conv(1, 64, 3, 32, 32, 16, 3, 1), conv(1, 64, 16, 32, 32, 16, 3, 1), conv(1, 64, 16, 32, 32, 32, 3, 2), conv(1, 64, 32, 16, 16, 32, 3, 1), conv(1, 64, 32, 16, 16, 64, 3, 2),
		conv(1, 64, 64, 8, 8, 64, 3, 1), conv(1, 64, 16, 32, 32, 32, 1, 2), conv(1, 64, 32, 16, 16, 64, 1, 2),
	} {
		line := fmt.Sprintf("%2dx%dx%-2d to %2dx%dx%-2d", o.H, o.W, o.C, o.OutH(), o.OutW(), o.K)
		for _, o.N = range []int{64, 1024} {
			c := cutForward(o)
			blocks := c.slices * c.shares
			if blocks < multiprocessors*9/10 {
				t.Errorf("%v: %d blocks for %d multiprocessors", o, blocks, multiprocessors)
			}
			if c.shared > blockShared {
				t.Errorf("%v: %d bytes of shared memory a block", o, c.shared)
			}
			line += fmt.Sprintf("  %4d, %2d, %d, %dx%d, %d", blocks, c.share, c.slice, c.mt, c.nt, c.shared)
		}
		t.Log(line)
	}
}

// Divisor's quotients are exact as far as divides says.
func TestMagicDivides(t *testing.T) {
	quotient := func(a, by int) int { return int((uint64(a)*uint64(magic(by)) + uint64(magic(by))) >> 32) }
	r := rand.New(rand.NewPCG(2, 1))
	for range 200000 {
		by := 1 + r.IntN(1<<(1+r.IntN(20)))
		most := 1 << 32 / by
		for _, a := range []int{0, by - 1, by, r.IntN(most), (1+r.IntN(most))/by*by - 1, most - 1, (most-1)/by*by - 1} {
			if a >= 0 && divides(a+1, by) && quotient(a, by) != a/by {
				t.Fatalf("%d/%d is %d", a, by, quotient(a, by))
			}
		}
	}
	if divides(1<<31, 3) {
		t.Error("2^31 numbers are divided by 3")
	}
}

// However a plane is cut, its parts are of at most 256 pixels and cover it; whatever the convolution, a block has the shared memory and the warps for its share.
func TestCutsFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		o := conv(1+r.IntN(4), 1+r.IntN(300), 1+r.IntN(600), 1+r.IntN(300), 1+r.IntN(300), 1+r.IntN(600), 1+2*r.IntN(8), 1+r.IntN(4))
		c := cutForward(o)
		p := c.parts
		if p.rows*p.columns > partPixels || p.high != ceil(o.OutH(), p.rows) || p.wide != ceil(o.OutW(), p.columns) {
			t.Fatalf("%v: parts %+v", o, p)
		}
		high, wide := ceil(ceil(p.rows*p.columns, 16), c.mt), ceil(c.slice, c.nt)
		if c.shared > mostShared || high*wide > warpsOf || cellParts%c.share != 0 || c.slices*c.slice*lanes < o.K || c.shares*c.share < o.N*p.each() {
			t.Fatalf("%v: cut %+v", o, c)
		}
		again := o
		again.Groups, again.N = 1, o.N
		if other := cutForward(again); other.span != c.span || other.chunk != c.chunk || other.parts != c.parts {
			t.Fatalf("%v: %+v and, of one group, %+v", o, c, other)
		}
	}
}

// forwardsApart are shapes that take what the suite's are too small for: parts that are no whole rows, a tile for each tap, chunks of channels, several parts a block of threads and several cells of parts a group; and each share of a warp with each
// number of blocks of channels.
func forwardsApart(t *testing.T) []kernel.Op {
	fused := func(o kernel.Op, before, after kernel.Fusion) kernel.Op {
		o.Before, o.After, o.Epsilon = before, after, 1e-5
		return o
	}
	wide, far, deep, many := conv(2, 1, 5, 6, 81, 7, 3, 1), conv(1, 2, 17, 60, 70, 6, 7, 4), conv(1, 2, 150, 5, 4, 20, 3, 1), conv(2, 603, 9, 2, 3, 3, 3, 1)
	if c := cutForward(far); c.span != 1 {
		t.Errorf("%v has a tile for all taps: %+v", far, c)
	}
	if c := cutForward(deep); c.chunk >= 10 {
		t.Errorf("%v has all channels in one chunk: %+v", deep, c)
	}
	if c := cutForward(many); c.share < 2 || many.N*c.each() <= cellParts {
		t.Errorf("%v has one part a block, or one cell: %+v", many, c)
	}
	ops := []kernel.Op{
		wide, fused(wide, kernel.NormAddReLU, kernel.Stats),
		far, fused(far, kernel.NormAddReLU, kernel.Sums),
		deep, fused(deep, kernel.NormReLU, kernel.Stats),
		fused(many, kernel.NormAddReLU, kernel.Stats),
	}
	for _, shape := range []struct {
		op            kernel.Op
		mt, nt, slice int
	}{
		{conv(2, 1, 16, 17, 16, 16, 3, 1), 2, 1, 1},
		{conv(1, 2, 32, 16, 16, 16, 3, 1), 2, 1, 1},
		{conv(1, 1, 64, 16, 16, 33, 3, 1), 2, 1, 1},
		{conv(2, 1, 64, 8, 8, 64, 3, 1), 1, 1, 1},
		{conv(1, 1, 16, 32, 32, 32, 3, 2), 2, 1, 1},
		{conv(1, 120, 16, 12, 11, 32, 3, 1), 2, 2, 2},
		{conv(2, 60, 30, 12, 11, 48, 1, 1), 2, 2, 2},
		{conv(1, 125, 16, 8, 8, 64, 1, 1), 2, 1, 4},
	} {
		if c := cutForward(shape.op); c.mt != shape.mt || c.nt != shape.nt || c.slice != shape.slice {
			t.Errorf("%v is cut otherwise: %+v", shape.op, c)
		}
		if shape.slice == 1 {
			ops = append(ops, shape.op)
		}
		ops = append(ops, fused(shape.op, kernel.NormAddReLU, kernel.Stats))
	}
	return ops
}
