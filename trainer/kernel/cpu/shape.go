package cpu

func planView(k *prepared) {
	a := k.input()
	k.addBlocks(k.Len(), func(_, _, n int) {
		geometry := k.Int(1)[3*n : 3*n+3]
		dy, dx, flip := int(geometry[0])-k.Pad, int(geometry[1])-k.Pad, geometry[2] != 0
		pixels := k.Byte(0)[n*k.C*k.H*k.W:]
		image := k.Real(4)[n*a.image():][:a.image()]
		clear(image)
		for ch := range k.C {
			var value [256]float32
			for p := range value {
				value[p] = (float32(p)/255 - k.Real(2)[ch]) / k.Real(3)[ch]
			}
			to := image[ch/lanes*a.plane()+ch%lanes:]
			for row := max(0, -dy); row < min(k.H, k.H-dy); row++ {
				from := pixels[(ch*k.H+row+dy)*k.W:][:k.W]
				for col := max(0, -dx); col < min(k.W, k.W-dx); col++ {
					at := col
					if flip {
						at = k.W - 1 - col
					}
					to[(row*k.W+at)*lanes] = value[from[col+dx]]
				}
			}
		}
	})
}

// eachChannel calls run for every channel of image n with the places of its first pixel in an activation and of its plane in plain [C][H*W].
func (k *prepared) eachChannel(n int, run func(blocked, plain int)) {
	a := k.input()
	for ch := range k.C {
		run(n*a.image()+ch/lanes*a.plane()+ch%lanes, (n*k.C+ch)*k.H*k.W)
	}
}

func planFlatten(k *prepared) {
	k.addBlocks(k.Len(), func(_, _, n int) {
		k.eachChannel(n, func(blocked, plain int) {
			y, x := k.Real(1)[plain:][:k.H*k.W], k.Real(0)[blocked:]
			for i := range y {
				y[i] = x[i*lanes]
			}
		})
	})
}

func planUnflatten(k *prepared) {
	a := k.input()
	k.addBlocks(k.Len(), func(_, _, n int) {
		clear(k.Real(1)[n*a.image():][:a.image()])
		k.eachChannel(n, func(blocked, plain int) {
			dx := k.Real(1)[blocked:]
			for i, v := range k.Real(0)[plain:][:k.H*k.W] {
				dx[i*lanes] = v
			}
		})
	})
}

// shortcut calls run for every channel of image n and every pixel of the narrow side with its places in the wide and in the large activation.
func (k *prepared) shortcut(n int, run func(wide, large int)) {
	x, y, front := k.input(), k.output(), (k.K-k.C)/2
	for ch := range k.C {
		from, to := n*x.image()+ch/lanes*x.plane()+ch%lanes, n*y.image()+(ch+front)/lanes*y.plane()+(ch+front)%lanes
		for oy := range y.h {
			for ox := range y.w {
				run(to+(oy*y.w+ox)*lanes, from+(oy*k.W+ox)*k.Stride*lanes)
			}
		}
	}
}

func planShortcutForward(k *prepared) {
	k.addBlocks(k.Len(), func(_, _, n int) {
		x, y, size := k.Real(0), k.Real(1), k.output().image()
		clear(y[n*size : (n+1)*size])
		k.shortcut(n, func(wide, large int) { y[wide] = x[large] })
	})
}

func planShortcutGrad(k *prepared) {
	k.addBlocks(k.Len(), func(_, _, n int) {
		dy, dx, size := k.Real(0), k.Real(1), k.input().image()
		clear(dx[n*size : (n+1)*size])
		k.shortcut(n, func(wide, large int) { dx[large] = dy[wide] })
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
