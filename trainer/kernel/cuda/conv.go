//go:build gpu

package cuda

// Which algorithm an op uses is a function of its shapes alone: part of the arithmetic, and package cpu's.

const (
	tileSize    = 4 // pixels of a tile of Winograd's filtering, a side
	positions   = (tileSize + 2) * (tileSize + 2)
	productRun  = 8  // outputs of a thread of winograd_product
	lanes       = 16 // channels of a block of package cpu's activations
	ghostPixels = 256
)

func (k *prepared) winogradFits() bool { return k.R == 3 && k.Stride == 1 && k.C >= 8 && k.K >= 8 }

// ghostFits says whether squares need no gradients: where that takes fewer products.
func (k *prepared) ghostFits() bool {
	pixels, terms, repeats := k.OutH()*k.OutW(), k.R*k.R*k.C, k.Repeats()
	direct := pixels * terms * k.K
	if k.winogradFits() {
		const transform = 100 // of the sums of a pair of channels
		direct = positions*k.tiles()*k.C*k.K + transform*k.C*k.K
	}
	return pixels <= ghostPixels && pixels*pixels*(k.K*repeats+2*terms) < 2*repeats*direct
}

// tilesHigh, tilesWide and tiles are those of an image, whose input and output have the same height and width.
func (k *prepared) tilesHigh() int { return ceil(k.H, tileSize) }
func (k *prepared) tilesWide() int { return ceil(k.W, tileSize) }
func (k *prepared) tiles() int     { return k.tilesHigh() * k.tilesWide() }

// shapes are the parameters that the direct convolutions take alike.
func (k *prepared) shapes() []any {
	return []any{k.C, k.H, k.W, k.K, k.R, k.Stride, k.OutH(), k.OutW()}
}

func planConvForward(k *prepared) {
	if k.winogradFits() {
		k.addWinograd(k.C, k.K, k.R*k.R, k.C*k.R*k.R, false)
		return
	}
	k.add("conv_forward", k.outputs(), append([]any{k.arg(0), k.arg(1), k.arg(2), k.outputs()}, k.shapes()...)...)
}

func planConvDataGrad(k *prepared) {
	if k.winogradFits() {
		k.addWinograd(k.K, k.C, k.C*k.R*k.R, k.R*k.R, true)
		return
	}
	k.add("conv_data_grad", k.inputs(), append([]any{k.arg(0), k.arg(1), k.arg(2), k.inputs()}, k.shapes()...)...)
}

// addWinograd adds a pass from argument 0, with `in` channels, to argument 2, with `out`. inStep and outStep are the elements between filters along them.
func (k *prepared) addWinograd(in, out, inStep, outStep int, backwards bool) {
	t := k.images() * k.tiles()
	u, v, m := k.reserve(positions*in*out), k.reserve(positions*in*t), k.reserve(positions*out*t)
	k.add("winograd_weights", in*out, k.arg(1), u, in*out, in, out, inStep, outStep, backwards)
	k.addTiles("winograd_input", 0, v, k.images(), in, in, in*t, 1, t)
	threads := positions * ceil(out, productRun) * t
	k.add("winograd_product", threads, v, u, m, threads, t, in, out)
	k.add("winograd_output", out*t, m, k.arg(2), out*t, out, k.H, k.W, k.tilesHigh(), k.tilesWide(), t)
}

// addTiles transforms the tiles of an argument's images into positions, tiles and channels so far apart; channels beyond those that there are become zeros.
func (k *prepared) addTiles(name string, from int, to place, images, channels, padded, position, tile, channel int) {
	n := images * padded * k.tiles()
	k.add(name, n, k.arg(from), to, n, channels, padded, k.H, k.W, k.tilesHigh(), k.tilesWide(), position, tile, channel)
}

func planConvWeightGrad(k *prepared) {
	width, units := k.K*k.C*k.R*k.R, k.Groups*k.imageBlocks()
	parts := k.reserve(units * width)
	if k.winogradFits() {
		t := k.images() * k.tiles()
		v, q, s := k.reserve(positions*t*k.C), k.reserve(positions*t*k.K), k.reserve(units*positions*k.C*k.K)
		k.addTiles("winograd_input", 0, v, k.images(), k.C, k.C, t*k.C, k.C, 1)
		k.addTiles("winograd_grad", 1, q, k.images(), k.K, k.K, t*k.K, k.K, 1)
		n := units * positions * k.C * k.K
		k.add("winograd_sums", n, v, q, s, n, k.N, k.C, k.K, k.tiles(), t)
		k.add("winograd_weight_grad", units*k.C*k.K, s, parts, units*k.C*k.K, k.C, k.K)
	} else {
		k.add("conv_weight_grad", units*width, append([]any{k.arg(0), k.arg(1), parts, units * width, k.N}, k.shapes()...)...)
	}
	k.addTree(parts, width, k.arg(2), k.args[2].Stride)
}

func planConvSquares(k *prepared) {
	m, ghost := k.images(), k.ghostFits()
	n, before := m*lanes*4, m/k.Repeats()
	acc := k.reserve(n)
	switch {
	case ghost:
		pixels := k.OutH() * k.OutW()
		gram := k.reserve(before * pixels * pixels)
		k.add("ghost_gram", before*pixels*pixels, k.arg(0), gram, before*pixels*pixels, k.C, k.H, k.W, k.R, k.Stride, k.OutH(), k.OutW())
		k.add("ghost_squares", n, gram, k.arg(1), acc, n, k.K, pixels, k.Repeats())
	case k.winogradFits():
		c, o, tiles := ceil(k.C, lanes)*lanes, ceil(k.K, lanes)*lanes, k.tiles()
		v, q := k.reserve(positions*before*tiles*c), k.reserve(positions*m*tiles*o)
		k.addTiles("winograd_input", 0, v, before, k.C, c, before*tiles*c, c, 1)
		k.addTiles("winograd_grad", 1, q, m, k.K, o, m*tiles*o, o, 1)
		k.add("winograd_squares", n, v, q, acc, n, c, o, tiles, before*tiles*c, m*tiles*o, k.Repeats())
	default:
		k.add("direct_squares", n, append(append([]any{k.arg(0), k.arg(1), acc, n}, k.shapes()...), k.Repeats())...)
	}
	k.add("add_squares", m, acc, k.arg(2), m, ghost)
}
