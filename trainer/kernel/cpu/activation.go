package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

const lanes = vector.Lanes

// activation is the geometry of one: [images][blocks][h][w][lanes].
type activation struct{ channels, h, w int }

func (a activation) blocks() int { return ceil(a.channels, lanes) }
func (a activation) padded() int { return a.blocks() * lanes } // channels
func (a activation) row() int    { return a.w * lanes }        // elements of a row of a block
func (a activation) plane() int  { return a.h * a.w * lanes }  // elements of a block
func (a activation) image() int  { return a.blocks() * a.plane() }

// input and output are those of the op.
func (k *prepared) input() activation  { return activation{k.C, k.H, k.W} }
func (k *prepared) output() activation { return activation{k.K, k.OutH(), k.OutW()} }

func ceil(a, b int) int { return (a + b - 1) / b }

// whole rounds n elements up to whole cache lines.
func whole(n int) int { return ceil(n, lanes) * lanes }

// blockImages is the images whose sum is one part of the fixed tree. It is part of the arithmetic.
const blockImages = 8

// imageBlocks is the blocks of images of a group.
func (k *prepared) imageBlocks() int { return ceil(k.N, blockImages) }

// block is the group of a unit that is a block of images, and its images.
func (k *prepared) block(unit int) (g, from, to int) {
	g = unit / k.imageBlocks()
	from = g*k.N + unit%k.imageBlocks()*blockImages
	return g, from, min(from+blockImages, (g+1)*k.N)
}

// addBlocks adds a step that runs for every image, a block of images being a unit.
func (k *prepared) addBlocks(work int, run func(worker, g, n int)) {
	k.add(k.Groups*k.imageBlocks(), work, func(worker, unit int) {
		g, from, to := k.block(unit)
		for n := from; n < to; n++ {
			run(worker, g, n)
		}
	})
}
