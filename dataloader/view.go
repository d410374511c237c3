package dataloader

import "github.com/dither-ml/dither/noise/philox"

// Geometry is a view of an image: padded with zeros on each side, cropped to its own size at (DY, DX), mirrored left to right if Flip is 1.
type Geometry struct{ DY, DX, Flip int32 }

// View is the view of a training sample in an epoch (from 0). DY and DX are uniform in 0..2*pad, Flip is 0 or 1 with equal chance, or 0 where
// flip is false: He et al. 2016, section 4.2, with pad 4 (162 views). Without augment it is the image itself, (pad, pad, 0).
//
// The draws: DY from words 0 and 1 and DX from words 2 and 3 of block 0, Flip the low bit of word 0 of block 1, all of
// (seed, Augment, epoch, sample). A draw is made in the same way whether or not the others are wanted.
func View(seed uint64, epoch, sample uint32, augment, flip bool, pad int) Geometry {
	if !augment {
		return Geometry{DY: int32(pad), DX: int32(pad)}
	}
	w := philox.At(seed, philox.Augment, epoch, sample, 0)
	offsets := uint32(2*pad + 1)
	g := Geometry{DY: int32(philox.Below(w[0], w[1], offsets)), DX: int32(philox.Below(w[2], w[3], offsets))}
	if flip {
		g.Flip = int32(philox.At(seed, philox.Augment, epoch, sample, 1)[0] & 1)
	}
	return g
}
