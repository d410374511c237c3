package cpu

// planView looks pixels up in tables [C][256] of what they become.
func planView(k *prepared) {
	const shades = 256
	a := k.input()
	tables := k.reserve(k.C * shades)
	k.add(k.C, k.C*shades, func(_, ch int) {
		mean, std := k.Real(2)[ch], k.Real(3)[ch]
		for p, table := 0, k.workspace(tables+ch*shades, shades); p < shades; p++ {
			table[p] = (float32(p)/255 - mean) / std
		}
	})
	k.addBlocks(k.Len(), func(_, _, n int) {
		geometry := k.Int(1)[3*n : 3*n+3]
		dy, dx, flip := int(geometry[0])-k.Pad, int(geometry[1])-k.Pad, geometry[2] != 0
		image := k.Real(4)[n*a.image():][:a.image()]
		left := max(0, -dx)
		right := max(left, min(k.W, k.W-dx)) // the columns that lie in the source
		at, step := left*lanes, lanes
		if flip {
			at, step = (k.W-1-left)*lanes, -lanes
		}
		for row := range k.H { // all channels of a row, so that it is fetched once
			for block := range a.blocks() {
				clear(image[block*a.plane()+row*a.row():][:a.row()])
			}
			for ch := 0; ch < k.C && row+dy >= 0 && row+dy < k.H && left < right; ch++ {
				table := (*[shades]float32)(k.workspace(tables+ch*shades, shades))
				to, i := image[ch/lanes*a.plane()+row*a.row()+ch%lanes:], at
				for _, pixel := range k.Byte(0)[((n*k.C+ch)*k.H+row+dy)*k.W:][left+dx : right+dx] {
					to[i] = table[pixel]
					i += step
				}
			}
		}
	})
}

// An activation and plain [C][H*W] are each other's transposes, a block of channels at a time.

func planFlatten(k *prepared) {
	a, plane := k.input(), k.H*k.W
	pixels, channels := multiples(plane, lanes), multiples(lanes, plane)
	k.addBlocks(k.Len()/8, func(_, _, n int) {
		for block := range a.blocks() {
			k.v.Transpose(&k.Real(1)[(n*k.C+block*lanes)*plane], &channels[0], k.planeOf(0, n, block), &pixels[0], plane, min(lanes, k.C-block*lanes))
		}
	})
}

func planUnflatten(k *prepared) {
	a, plane := k.input(), k.H*k.W
	pixels, channels := multiples(plane, lanes), multiples(lanes, plane)
	k.addBlocks(k.Len()/8, func(_, _, n int) {
		clear(k.Real(1)[n*a.image():][:a.image()])
		for block := range a.blocks() {
			k.v.Transpose(k.planeOf(1, n, block), &pixels[0], &k.Real(0)[(n*k.C+block*lanes)*plane], &channels[0], min(lanes, k.C-block*lanes), plane)
		}
	})
}

// passage is channels side by side in a block of both ends of a shortcut: its places in an image of the output, of many channels, and of the input, of many pixels.
type passage struct{ wide, large, channels int }

func (k *prepared) passages() (all []passage) {
	x, y, front := k.input(), k.output(), (k.K-k.C)/2
	for ch := 0; ch < k.C; {
		to := ch + front
		n := min(k.C-ch, lanes-ch%lanes, lanes-to%lanes)
		all = append(all, passage{to/lanes*y.plane() + to%lanes, ch/lanes*x.plane() + ch%lanes, n})
		ch += n
	}
	return all
}

// copyPixels copies some channels of n pixels, which are so many elements apart.
func copyPixels(dst []float32, to int, src []float32, from, channels, n int) {
	switch channels {
	case lanes:
		for i := range n {
			*(*[lanes]float32)(dst[i*to:]) = [lanes]float32(src[i*from:])
		}
	case lanes / 2:
		for i := range n {
			*(*[lanes / 2]float32)(dst[i*to:]) = [lanes / 2]float32(src[i*from:])
		}
	default:
		for i := range n {
			copy(dst[i*to:][:channels], src[i*from:])
		}
	}
}

func planShortcutForward(k *prepared) {
	x, y, passages := k.input(), k.output(), k.passages()
	k.addBlocks(k.Len()/8, func(_, _, n int) {
		in, out := k.Real(0)[n*x.image():][:x.image()], k.Real(1)[n*y.image():][:y.image()]
		clear(out)
		for _, r := range passages {
			for row := range y.h {
				copyPixels(out[r.wide+row*y.row():], lanes, in[r.large+row*k.Stride*x.row():], k.Stride*lanes, r.channels, y.w)
			}
		}
	})
}

func planShortcutGrad(k *prepared) {
	x, y, passages := k.input(), k.output(), k.passages()
	k.addBlocks(k.Len()/8, func(_, _, n int) {
		dy, dx := k.Real(0)[n*y.image():][:y.image()], k.Real(1)[n*x.image():][:x.image()]
		clear(dx)
		for _, r := range passages {
			for row := range y.h {
				copyPixels(dx[r.large+row*k.Stride*x.row():], k.Stride*lanes, dy[r.wide+row*y.row():], lanes, r.channels, y.w)
			}
		}
	})
}

func planPoolForward(k *prepared) {
	own := k.reserve(k.pool.threads * 9 * lanes)
	a := k.input()
	k.addBlocks(k.Len()/8, func(worker, _, n int) {
		acc := k.workspace(own+worker*9*lanes, 9*lanes)
		for block := range a.blocks() {
			clear(acc)
			k.v.Sums(k.planeOf(0, n, block), &acc[8*lanes], &acc[0], k.H*k.W)
			k.total(acc[:8*lanes])
			for ch := block * lanes; ch < min((block+1)*lanes, k.C); ch++ {
				k.Real(1)[n*k.C+ch] = acc[ch%lanes] / float32(k.H*k.W)
			}
		}
	})
}

func planPoolGrad(k *prepared) {
	a := k.input()
	k.addBlocks(k.Len()/8, func(_, _, n int) {
		for block := range a.blocks() {
			var pixel [lanes]float32
			for i := range min(lanes, k.C-block*lanes) {
				pixel[i] = k.Real(0)[n*k.C+block*lanes+i] / float32(k.H*k.W)
			}
			dx := k.Real(1)[n*a.image()+block*a.plane():][:a.plane()]
			for i := 0; i < len(dx); i += lanes {
				*(*[lanes]float32)(dx[i:]) = pixel
			}
		}
	})
}
