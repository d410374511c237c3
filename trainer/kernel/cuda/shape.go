//go:build gpu

package cuda

// blockImages is the images whose sum is one part of the fixed tree (order.h, package cpu).
const blockImages = 8

func ceil(a, b int) int { return (a + b - 1) / b }

// images are those of all groups.
func (k *prepared) images() int { return k.Groups * k.N }

// imageBlocks is the blocks of images of a group.
func (k *prepared) imageBlocks() int { return ceil(k.N, blockImages) }

func (k *prepared) plane() int { return k.H * k.W }

// inputs and outputs are the elements of the forward op's input and output.
func (k *prepared) inputs() int  { return k.images() * k.C * k.plane() }
func (k *prepared) outputs() int { return k.images() * k.K * k.OutH() * k.OutW() }

// addTree adds up, for each group, the parts [blocks of images][width] at a place into argument `to`.
func (k *prepared) addTree(parts place, width int, to place, stride int) {
	n := k.Groups * width
	k.add("add_parts", n, parts, to, n, width, k.imageBlocks(), stride)
}

func planView(k *prepared) {
	n := k.inputs()
	k.add("view", n, k.arg(0), k.arg(1), k.arg(2), k.arg(3), k.arg(4), n, k.C, k.H, k.W, k.Pad)
}

func planShortcutForward(k *prepared) {
	n := k.outputs()
	k.add("shortcut_forward", n, k.arg(0), k.arg(1), n, k.C, k.H, k.W, k.K, k.Stride, k.OutH(), k.OutW())
}

func planShortcutGrad(k *prepared) {
	n := k.inputs()
	k.add("shortcut_grad", n, k.arg(0), k.arg(1), n, k.C, k.H, k.W, k.K, k.Stride, k.OutH(), k.OutW())
}

func planPoolForward(k *prepared) {
	n := k.images() * k.C
	k.add("pool_forward", n, k.arg(0), k.arg(1), n, k.plane())
}

func planPoolGrad(k *prepared) {
	n := k.inputs()
	k.add("pool_grad", n, k.arg(0), k.arg(1), n, k.plane())
}

// planCopy plans Flatten and Unflatten: activations lie plain.
func planCopy(k *prepared) { k.add("copy", k.inputs(), k.arg(0), k.arg(1), k.inputs()) }
