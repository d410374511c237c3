package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/internal/host"
)

// The layers of ResNet-20, ten functions an image: with few pixels and many channels no gradient is made.
func TestGhostNormsAreForFewPixels(t *testing.T) {
	for _, c := range []struct {
		op    kernel.Op
		ghost bool
	}{
		{kernel.Op{C: 3, H: 32, W: 32, K: 16, R: 3, Stride: 1}, false},
		{kernel.Op{C: 16, H: 32, W: 32, K: 16, R: 3, Stride: 1}, false},
		{kernel.Op{C: 16, H: 32, W: 32, K: 32, R: 3, Stride: 2}, false},
		{kernel.Op{C: 32, H: 16, W: 16, K: 32, R: 3, Stride: 1}, false},
		{kernel.Op{C: 32, H: 16, W: 16, K: 64, R: 3, Stride: 2}, true},
		{kernel.Op{C: 64, H: 8, W: 8, K: 64, R: 3, Stride: 1}, true},
	} {
		c.op.Kind, c.op.Groups, c.op.N, c.op.Repeat, c.op.Block = kernel.ConvSquares, 1, 10, 10, lanes
		k := &prepared{Call: host.NewCall[float32](c.op)}
		if got := k.ghostFits(); got != c.ghost {
			t.Errorf("%v: a ghost norm is %v, want %v", c.op, got, c.ghost)
		}
	}
}

// Where x is the same at every pixel and dy adds up to 0, so does every gradient; what rounding leaves of the squares' sum is never below.
func TestSquaresOfGradientsThatCancelAreNotNegative(t *testing.T) {
	const images, channels, pixels = 64, 16, 8
	op := kernel.Op{Kind: kernel.ConvSquares, Groups: 1, N: images, C: channels, H: pixels, W: 1, K: channels, R: 1, Stride: 1, Block: lanes}
	if k := (&prepared{Call: host.NewCall[float32](op)}); !k.ghostFits() {
		t.Fatalf("%v has another way", op)
	}
	r := rand.New(rand.NewPCG(1, 1))
	x, dy, q := make([]float32, images*pixels*channels), make([]float32, images*pixels*channels), make([]float32, images)
	for n := range images {
		for c := range channels {
			v := float32(r.NormFloat64())
			for p := range pixels {
				x[(n*pixels+p)*channels+c] = v
				if at := (n*pixels+p)*channels + c; p%2 == 0 {
					dy[at] = float32(r.NormFloat64())
				} else {
					dy[at] = -dy[at-channels]
				}
			}
		}
	}
	set := threads(t, 1)
	defer set.Close()
	run(t, set, op, x, dy, q)
	for n, v := range q {
		if !(v >= 0 && v < 1e-3) {
			t.Errorf("image %d: the squares add up to %v, want 0", n, v)
		}
	}
}
