package cpu

func planView(k *prepared) {
	k.add(k.Groups*k.N, k.Len(), func(_, n int) {
		geometry := k.Int(1)[3*n : 3*n+3]
		dy, dx, flip := int(geometry[0])-k.Pad, int(geometry[1])-k.Pad, geometry[2] != 0
		pixels := k.Byte(0)
		for ch := range k.C {
			var value [256]float32
			for p := range value {
				value[p] = (float32(p)/255 - k.Real(2)[ch]) / k.Real(3)[ch]
			}
			plane := k.plane(k.Real(4), n, ch)
			clear(plane)
			for row := max(0, -dy); row < min(k.H, k.H-dy); row++ {
				from := pixels[((n*k.C+ch)*k.H+row+dy)*k.W:][:k.W]
				to := plane[row*k.W : (row+1)*k.W]
				for col := max(0, -dx); col < min(k.W, k.W-dx); col++ {
					if flip {
						to[k.W-1-col] = value[from[col+dx]]
					} else {
						to[col] = value[from[col+dx]]
					}
				}
			}
		}
	})
}

// wide is the plane of output channel ch of image n of a shortcut.
func (k *prepared) wide(v []float32, n, ch int) []float32 {
	size := k.OutH() * k.OutW()
	return v[(n*k.K+ch)*size : (n*k.K+ch+1)*size]
}

func planShortcutForward(k *prepared) {
	ho, wo, front := k.OutH(), k.OutW(), (k.K-k.C)/2
	k.add(k.Groups*k.N, k.Len(), func(_, n int) {
		for ch := range k.K {
			y := k.wide(k.Real(1), n, ch)
			if ch < front || ch >= front+k.C {
				clear(y)
				continue
			}
			x := k.plane(k.Real(0), n, ch-front)
			for oy := range ho {
				for ox := range wo {
					y[oy*wo+ox] = x[(oy*k.W+ox)*k.Stride]
				}
			}
		}
	})
}

func planShortcutGrad(k *prepared) {
	ho, wo, front := k.OutH(), k.OutW(), (k.K-k.C)/2
	k.add(k.Groups*k.N, k.Len(), func(_, n int) {
		for ch := range k.C {
			dy, dx := k.wide(k.Real(0), n, front+ch), k.plane(k.Real(1), n, ch)
			clear(dx)
			for oy := range ho {
				for ox := range wo {
					dx[(oy*k.W+ox)*k.Stride] = dy[oy*wo+ox]
				}
			}
		}
	})
}

func planPoolForward(k *prepared) {
	k.add(k.Groups*k.N, k.Len(), func(_, n int) {
		for ch := range k.C {
			var l lanes
			l.add(k.plane(k.Real(0), n, ch))
			k.Real(1)[n*k.C+ch] = l.total() / float32(k.H*k.W)
		}
	})
}

func planPoolGrad(k *prepared) {
	k.add(k.Groups*k.N, k.Len(), func(_, n int) {
		for ch := range k.C {
			v, dx := k.Real(0)[n*k.C+ch]/float32(k.H*k.W), k.plane(k.Real(1), n, ch)
			for i := range dx {
				dx[i] = v
			}
		}
	})
}
