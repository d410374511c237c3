package kerneltest

import "github.com/dither-ml/dither/trainer/kernel"

// The suite thinks in plain activations, [images][C][H][W]; what a set sees lies in its own blocks.

// owned is op as a set of these traits wants it: in its blocks, unless op says otherwise.
func owned(traits kernel.Traits, op kernel.Op) kernel.Op {
	for _, a := range op.Args() {
		if a.Channels > 0 && op.Block == 0 {
			op.Block = traits.Block
		}
	}
	return op
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
