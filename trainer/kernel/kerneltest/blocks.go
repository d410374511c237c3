package kerneltest

import (
	"math"

	"github.com/dither-ml/dither/trainer/kernel"
)

// The suite thinks in plain activations, [images][C][H][W]; what a set sees lies in its own blocks, and in its precision.

// owned is op as a set of these traits wants it: in its blocks and its precision, unless op says otherwise.
func owned(traits kernel.Traits, op kernel.Op) kernel.Op {
	for _, a := range op.Args() {
		if a.Channels > 0 && op.Block == 0 {
			op.Block, op.Half = traits.Block, traits.Half
		}
	}
	if op.Kind == kernel.Gather {
		op.Half = traits.Half
	}
	return op
}

// rounded are contents that a set of these traits holds exactly.
func rounded(traits kernel.Traits, op kernel.Op, in []data) []data {
	out := append([]data(nil), in...)
	for i, a := range owned(traits, op).Args() {
		if a.Type == kernel.Half && len(in[i].real) > 0 {
			out[i].real = make([]float64, len(in[i].real))
			for j, v := range in[i].real {
				out[i].real[j] = bfloat16(v)
			}
		}
	}
	return out
}

// bfloat16 is the nearest number of that type, ties to even.
func bfloat16(v float64) float64 {
	if v != v {
		return v
	}
	bits := math.Float32bits(float32(v))
	return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
}

// packed puts weights [K][C][R][R] where a convolution of half precision wants them.
func packed(op kernel.Op, plain []float64) []float64 {
	index := op.Packing()
	v := make([]float64, len(index))
	for i, from := range index {
		if from >= 0 {
			v[i] = plain[from]
		}
	}
	return v
}

// unpacked is its inverse.
func unpacked(op kernel.Op, v []float64) []float64 {
	plain := make([]float64, op.K*op.C*op.R*op.R)
	for i, to := range op.Packing() {
		if to >= 0 {
			plain[to] = v[i]
		}
	}
	return plain
}

// places calls f for every element of activation a in blocks of so many channels, with its place there and in a plain one; plain is -1 beyond the last channel.
func places(a kernel.Arg, block int, f func(at, plain int)) {
	blocks, at := (a.Channels+block-1)/block, 0
	for image := range a.Len() / (blocks * a.Pixels * block) {
		for first := 0; first < blocks*block; first += block {
			for pixel := range a.Pixels {
				for channel := first; channel < first+block; channel++ {
					plain := -1
					if channel < a.Channels {
						plain = (image*a.Channels+channel)*a.Pixels + pixel
					}
					f(at, plain)
					at++
				}
			}
		}
	}
}

// blocked puts plain numbers into the blocks of a, and zeros into the channels that fill the last.
func blocked(a kernel.Arg, block int, plain []float64) []float64 {
	v := make([]float64, a.Len())
	places(a, block, func(at, from int) {
		if from >= 0 {
			v[at] = plain[from]
		}
	})
	return v
}

// unblocked is its inverse, and gives besides the first number in the channels that fill the last block which is not zero.
func unblocked(a kernel.Arg, block int, v []float64) (plain []float64, beyond float64) {
	plain = make([]float64, a.Len()/((a.Channels+block-1)/block*block)*a.Channels)
	places(a, block, func(at, to int) {
		switch {
		case to >= 0:
			plain[to] = v[at]
		case v[at] != 0 && beyond == 0:
			beyond = v[at]
		}
	})
	return plain, beyond
}
