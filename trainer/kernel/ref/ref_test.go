package ref_test

import (
	"math"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

func TestSuite(t *testing.T) {
	kerneltest.Run(t, ref.New(), kerneltest.Options{Seed: 1, Allocates: true})
}

func TestGradients(t *testing.T) { kerneltest.Gradients(t, ref.New()) }

// launch runs op on args, which it reads and writes, on the reference set.
func launch(t *testing.T, op kernel.Op, args ...any) {
	t.Helper()
	set := ref.New()
	k, err := set.Prepare(op)
	if err != nil {
		t.Fatal(err)
	}
	s := set.NewStream()
	var memory []kernel.Memory
	for i, a := range op.Args() {
		m, err := set.Alloc(a.Type, a.Len())
		if err != nil {
			t.Fatal(err)
		}
		s.Write(m, args[i])
		memory = append(memory, m)
	}
	k.Launch(s, memory)
	for i, m := range memory {
		s.Read(args[i], m)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-14*(1+math.Abs(want[i])) {
			t.Fatalf("%s is %v, want %v", what, got, want)
		}
	}
}

// What has no derivative to be held to is held to numbers worked out by hand.

func TestConvForwardByHand(t *testing.T) {
	x, w, y := []float64{1, 2, 3, 4}, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, make([]float64, 4)
	launch(t, kernel.Op{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 2, W: 2, K: 1, R: 3, Stride: 1}, x, w, y)
	same(t, "y", y, []float64{5 + 12 + 24 + 36, 4 + 10 + 21 + 32, 2 + 6 + 15 + 24, 1 + 4 + 12 + 20})
	launch(t, kernel.Op{Kind: kernel.ConvForward, Groups: 1, N: 1, C: 1, H: 2, W: 2, K: 1, R: 3, Stride: 2}, x, w, y[:1])
	same(t, "y of stride 2", y[:1], []float64{77})
}

func TestViewByHand(t *testing.T) {
	op := kernel.Op{Kind: kernel.View, Groups: 1, N: 4, C: 1, H: 2, W: 2, Pad: 1}
	pixels := []uint8{0, 51, 102, 255, 0, 51, 102, 255, 0, 51, 102, 255, 0, 51, 102, 255}
	x := make([]float64, 16)
	launch(t, op, pixels, []int32{1, 1, 0, 1, 1, 1, 0, 0, 0, 2, 1, 1}, []float64{0.2}, []float64{0.5}, x)
	same(t, "the image, mirrored, moved down and right, moved up and mirrored", x, []float64{
		-0.4, 0, 0.4, 1.6,
		0, -0.4, 1.6, 0.4,
		0, 0, 0, -0.4,
		1.6, 0.4, 0, 0})
}

func TestShortcutByHand(t *testing.T) {
	y := make([]float64, 8)
	launch(t, kernel.Op{Kind: kernel.ShortcutForward, Groups: 1, N: 1, C: 1, H: 3, W: 3, K: 2, Stride: 2}, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, y)
	same(t, "y", y, []float64{1, 3, 7, 9, 0, 0, 0, 0})
}

func TestSGDByHand(t *testing.T) {
	theta, v := []float64{1, -2}, []float64{0.5, 0}
	op := kernel.Elementwise(kernel.SGD, 2)
	op.Momentum, op.WeightDecay = 0.9, 0.1
	launch(t, op, theta, v, []float64{3, 1}, []float64{0.1})
	same(t, "v", v, []float64{3.55, 0.8})
	same(t, "theta", theta, []float64{0.645, -2.08})
}

func TestRunningAverageByHand(t *testing.T) {
	r := []float64{1, 2}
	op := kernel.Elementwise(kernel.RunningAverage, 2)
	op.Momentum, op.Scale = 0.1, 0.25
	launch(t, op, r, []float64{8, 4})
	same(t, "r", r, []float64{1.1, 1.9})
}

func TestLossesByHand(t *testing.T) {
	loss := make([]float64, 1)
	op := kernel.Op{Groups: 1, N: 2, K: 2, Scale: 0.5, Temperature: 2}
	op.Kind = kernel.QuadraticForward
	launch(t, op, []float64{1, 2, 3, 4}, []float64{0, 0, 3, 2}, loss)
	same(t, "quadratic", loss, []float64{0.25 * 9})
	op.Kind = kernel.CEForward
	launch(t, op, []float64{0, math.Log(3), 5, 5}, []int32{1, 0}, loss)
	same(t, "cross-entropy", loss, []float64{0.5 * (math.Log(4.0/3) + math.Log(2))})
	op.Kind = kernel.KDForward // softmax(y/2) = (1/4, 3/4), softmax(f/2) = (1/2, 1/2); the second image's are equal
	launch(t, op, []float64{1, 1, 7, 3}, []float64{0, 2 * math.Log(3), 8, 4}, loss)
	same(t, "kd", loss, []float64{0.5 * 4 * (0.25*math.Log(0.5) + 0.75*math.Log(1.5))})
	op.Kind, op.N = kernel.Correct, 4
	launch(t, op, []float64{1, 1, 1, 2, math.NaN(), 0, 0, math.Inf(1)}, []int32{0, 0, 1, 1}, loss)
	same(t, "correct: a tie goes to the first, a NaN to nobody", loss, []float64{2})
}

func TestGradientsOfTwoFunctionsByHand(t *testing.T) {
	dx := make([]float64, 8)
	launch(t, kernel.Op{Kind: kernel.ReLUGrad, Groups: 1, N: 4, Repeat: 2, C: 2, H: 1, W: 1}, []float64{1, 2, 3, 4, 5, 6, 7, 8}, []float64{1, 0, 0, 1}, dx)
	same(t, "dx of two images, two functions each", dx, []float64{1, 0, 3, 0, 0, 6, 0, 8})
	launch(t, kernel.Op{Kind: kernel.OneHot, Groups: 1, N: 4, K: 2}, dx)
	same(t, "df", dx, []float64{1, 0, 0, 1, 1, 0, 0, 1})
}

// The statistics are those of x wherever the shift is.
func TestNormStatsByHand(t *testing.T) {
	op := kernel.Op{Kind: kernel.NormStats, Groups: 2, N: 2, C: 1, H: 1, W: 2}
	for _, shift := range []float64{0, 1000, -1e6} {
		mean, variance, record := make([]float64, 2), make([]float64, 2), make([]float64, 4)
		launch(t, op, []float64{1001, 1002, 1003, 1006, 5, 5, 5, 5}, []float64{shift}, mean, variance, record)
		same(t, "mean", mean, []float64{1003, 5})
		same(t, "variance", variance, []float64{3.5, 0})
		same(t, "record", record, []float64{1003, 14.0 / 3, 5, 0})
	}
}
