// Package evaluation puts images through a network and says how it does: loss and prediction by image, squared gradient norms by image and logit.
package evaluation

import (
	"math"

	"github.com/dither-ml/dither/noise/elementary"
)

// Batch is which images of a split to go through.
type Batch struct {
	Pixels     []byte   // [N][C][H][W] of the whole split
	Labels     []int32  // [N] of the whole split
	IDs        []uint32 // the images to evaluate, as indices into the split
	ImageBytes int      // C*H*W
	Classes    int      // L
	AtOnce     int      // images that the program takes
}

// Inference gives logits: program.Inference.
type Inference interface {
	// Logits writes the logits of n images [n][classes] to out; a nil geometry is the original view.
	Logits(pixels []byte, geometry []int32, n int, out []float32) error
}

// Norms gives squared gradient norms: program.SquaredNorm.
type Norms interface {
	// SquaredNorms writes ||grad f_l(x_i)||^2 [n][classes] to out.
	SquaredNorms(pixels []byte, n int, out []float32) error
}

// Image is how a network does on one image.
type Image struct {
	Loss    float64 // cross-entropy with the label
	Correct bool    // the first greatest logit is the label's
}

// Logits are the logits of the batch's images [len(IDs)][classes].
func Logits(p Inference, b Batch) ([]float32, error) {
	return inBlocks(b, func(pixels []byte, n int, out []float32) error { return p.Logits(pixels, nil, n, out) })
}

// SquaredNorms are ||grad f_l(x_i)||^2 of the batch's images [len(IDs)][classes].
func SquaredNorms(p Norms, b Batch) ([]float32, error) {
	return inBlocks(b, p.SquaredNorms)
}

func inBlocks(b Batch, compute func(pixels []byte, n int, out []float32) error) ([]float32, error) {
	all := make([]float32, len(b.IDs)*b.Classes)
	pixels := make([]byte, b.AtOnce*b.ImageBytes)
	for from := 0; from < len(b.IDs); from += b.AtOnce {
		ids := b.IDs[from:min(from+b.AtOnce, len(b.IDs))]
		for i, id := range ids {
			copy(pixels[i*b.ImageBytes:(i+1)*b.ImageBytes], b.Pixels[int(id)*b.ImageBytes:])
		}
		if err := compute(pixels[:len(ids)*b.ImageBytes], len(ids), all[from*b.Classes:(from+len(ids))*b.Classes]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Images evaluates the batch's images one by one.
func Images(p Inference, b Batch) ([]Image, error) {
	logits, err := Logits(p, b)
	if err != nil {
		return nil, err
	}
	out := make([]Image, len(b.IDs))
	for i, id := range b.IDs {
		out[i] = Judge(logits[i*b.Classes:(i+1)*b.Classes], int(b.Labels[id]))
	}
	return out, nil
}

// Judge compares one image's logits with its label. A NaN among the logits makes it wrong, with a NaN loss.
func Judge(logits []float32, label int) Image {
	best, greatest := 0, float64(logits[0])
	sick := false
	for l, v := range logits {
		sick = sick || v != v
		if float64(v) > greatest {
			best, greatest = l, float64(v)
		}
	}
	if sick {
		return Image{Loss: math.NaN()}
	}
	sum := 0.0
	for _, v := range logits {
		sum += elementary.Exp(float64(v) - greatest)
	}
	return Image{Loss: elementary.Log(sum) + greatest - float64(logits[label]), Correct: best == label}
}

// SumLogits adds up the squared norms of each image's logits [n][classes] to [n], in their order.
func SumLogits(norms []float32, classes int) []float64 {
	out := make([]float64, len(norms)/classes)
	for i := range out {
		for _, v := range norms[i*classes : (i+1)*classes] {
			out[i] += float64(v)
		}
	}
	return out
}
