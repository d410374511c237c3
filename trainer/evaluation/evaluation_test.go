package evaluation

import (
	"errors"
	"math"
	"slices"
	"testing"
)

func TestJudge(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		logits  []float32
		label   int
		loss    float64
		correct bool
	}{
		{[]float32{0, 0}, 0, math.Ln2, true},
		{[]float32{0, 0}, 1, math.Ln2, false}, // the first of equals is the answer
		{[]float32{-1, 3, 3, 2}, 1, math.Log(math.Exp(-4) + 2 + math.Exp(-1)), true},
		{[]float32{-1, 3, 3, 2}, 2, math.Log(math.Exp(-4) + 2 + math.Exp(-1)), false},
		{[]float32{1000, 0}, 1, 1000, false}, // exp(1000) is not a float64
		{[]float32{-1000, -1001}, 0, math.Log(1 + math.Exp(-1)), true},
		{[]float32{5}, 0, 0, true},
		{[]float32{nan, 1}, 1, math.NaN(), false},
		{[]float32{1, nan}, 0, math.NaN(), false},
		{[]float32{nan, nan}, 0, math.NaN(), false},
		{[]float32{-inf, 0}, 1, 0, true},
	} {
		got := Judge(c.logits, c.label)
		if got.Correct != c.correct || math.IsNaN(got.Loss) != math.IsNaN(c.loss) || math.Abs(got.Loss-c.loss) > 1e-12*(1+c.loss) {
			t.Errorf("logits %v with label %d give %v, want loss %v, correct %v", c.logits, c.label, got, c.loss, c.correct)
		}
	}
}

func TestSumLogits(t *testing.T) {
	if got := SumLogits([]float32{1, 2, 3, 1 << 24, 1, 1}, 3); !slices.Equal(got, []float64{6, 1<<24 + 2}) {
		t.Errorf("the sums are %v", got)
	}
	if got := SumLogits(nil, 3); len(got) != 0 {
		t.Errorf("nothing sums to %v", got)
	}
}

// sums is a network whose logits are an image's bytes, and that keeps the sizes of its batches.
type sums struct {
	sizes []int
	fails error
}

func (s *sums) Logits(pixels []byte, geometry []int32, n int, out []float32) error {
	s.sizes = append(s.sizes, n)
	if geometry != nil || len(pixels) != 2*n || len(out) != 2*n {
		return errors.New("another shape")
	}
	for i, p := range pixels {
		out[i] = float32(p)
	}
	return s.fails
}

func TestImagesAreTakenByIDInBlocks(t *testing.T) {
	b := Batch{Pixels: []byte{9, 0, 0, 9, 8, 0, 0, 8}, Labels: []int32{0, 1, 1, 1}, IDs: []uint32{3, 0, 2, 1, 3}, ImageBytes: 2, Classes: 2, AtOnce: 2}
	net := &sums{}
	got, err := Images(net, b)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, true, true} {
		if got[i].Correct != want {
			t.Errorf("image %d is judged %v", b.IDs[i], got[i])
		}
	}
	if !slices.Equal(net.sizes, []int{2, 2, 1}) {
		t.Errorf("the blocks are %v", net.sizes)
	}
	fails := errors.New("no")
	if _, err := Images(&sums{fails: fails}, b); !errors.Is(err, fails) {
		t.Errorf("a network's error comes back as %v", err)
	}
	b.IDs = nil
	if got, err := Images(net, b); err != nil || len(got) != 0 {
		t.Errorf("no images give %v, %v", got, err)
	}
}
