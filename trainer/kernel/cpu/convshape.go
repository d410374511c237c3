package cpu

// bordered is the geometry of a copy of an image with zeros around it, the channels of a pixel side by side: [h][w][channels].
type bordered struct{ channels, h, w int }

func (b bordered) row() int  { return b.w * b.channels }
func (b bordered) size() int { return b.h * b.row() }

// newBordered is the geometry of a copy of a with pad pixels of zeros on each side.
func newBordered(a activation, pad int) bordered {
	return bordered{a.channels, a.h + 2*pad, a.w + 2*pad}
}

// phase is the output pixels that meet the same taps of the window: all of them in a forward pass; in a data gradient of stride S, each of the S*S sets of pixels S apart.
// The terms of a pixel are pieces of the source's bordered copy, depth elements each, at at[pixel] + offset; the pixel's sum goes to to[pixel] in a block of the output. All are in elements.
type phase struct {
	taps    []int // the taps' places in the window, r*R+s, in order
	offsets []int
	depth   int
	at, to  []int
	pixels  int // Invariant: at and to go on with the last of the pixels to a multiple of 8
}

func (p *phase) terms() int { return len(p.offsets) * p.depth }

func (p *phase) pixel(at, to int) {
	p.at, p.to, p.pixels = append(p.at, at), append(p.to, to), p.pixels+1
}

// round makes the lists what vector.Convolve takes.
func (p *phase) round() {
	for i := p.pixels - 1; len(p.at)%8 != 0; {
		p.at, p.to = append(p.at, p.at[i]), append(p.to, p.to[i])
	}
}

// forwardShape is the geometry of ConvForward: a piece is a row of the window.
func (k *prepared) forwardShape() (bordered, phase) {
	s := newBordered(k.input(), k.R/2)
	p := phase{depth: k.R * s.channels}
	for r := range k.R {
		p.offsets = append(p.offsets, r*s.row())
		for c := range k.R {
			p.taps = append(p.taps, r*k.R+c)
		}
	}
	for y := range k.OutH() {
		for x := range k.OutW() {
			p.pixel(y*k.Stride*s.row()+x*k.Stride*s.channels, (y*k.OutW()+x)*lanes)
		}
	}
	p.round()
	return s, p
}

// weightShape is the geometry of the weight gradient: ConvForward's, but a piece is a tap where its channels don't fill their blocks and depth, those of a gradient, do.
func (k *prepared) weightShape(depth int) (bordered, phase) {
	s, p := k.forwardShape()
	if depth == s.channels {
		return s, p
	}
	p.depth, p.offsets = s.channels, nil
	for _, tap := range p.taps {
		p.offsets = append(p.offsets, tap/k.R*s.row()+tap%k.R*s.channels)
	}
	return s, p
}

// dataGradShape is the geometry of ConvDataGrad: dx at y meets tap r at the output row (y + pad - r)/Stride, where that is whole.
func (k *prepared) dataGradShape() (bordered, []phase) {
	pad := k.R / 2
	s := newBordered(k.output(), pad)
	var phases []phase
	for py := range min(k.Stride, k.H) {
		for px := range min(k.Stride, k.W) {
			p := phase{depth: s.channels}
			for r := range k.R {
				for c := range k.R {
					if (py+pad-r)%k.Stride == 0 && (px+pad-c)%k.Stride == 0 {
						p.taps = append(p.taps, r*k.R+c)
						p.offsets = append(p.offsets, ((py+pad-r)/k.Stride+pad)*s.row()+((px+pad-c)/k.Stride+pad)*s.channels)
					}
				}
			}
			for y := py; y < k.H; y += k.Stride {
				for x := px; x < k.W; x += k.Stride {
					p.pixel(y/k.Stride*s.row()+x/k.Stride*s.channels, (y*k.W+x)*lanes)
				}
			}
			p.round()
			phases = append(phases, p)
		}
	}
	return s, phases
}

// depth is the channels of a source that a weight gradient has rows of: all of a block, unless there is but one and it isn't full.
func (a activation) depth() int {
	if a.channels < lanes {
		return a.channels
	}
	return a.padded()
}

// copyBordered fills the inside of the bordered copy of image n; row has room for a row of a block.
func (r *reader) copyBordered(dst, row []float32, b bordered, g, n int) {
	pad := (b.h - r.h) / 2
	dst = dst[pad*b.row()+pad*b.channels:]
	if b.channels == lanes {
		r.rows(dst, b.row(), g, n, 0, 0, r.h)
		return
	}
	for y := range r.h {
		for block := r.blocks() - 1; block >= 0; block-- {
			source := row
			if r.plain() {
				source = r.Real(r.first)[n/r.repeat*r.image()+block*r.plane()+y*r.row():]
			} else {
				r.rows(row, r.row(), g, n, block, y, y+1)
			}
			scatter(dst[y*b.row()+block*lanes:], source, b.channels, min(lanes, b.channels-block*lanes), r.w)
		}
	}
}

// scatter lays the first `valid` channels of n pixels of a block pitch elements apart. More of a block's are written where what lies behind is written later: by the next pixel, or by a block in front of this one.
func scatter(dst, src []float32, pitch, valid, n int) {
	const few = 4
	i := 0
	if valid <= few {
		for last := n - ceil(few, pitch); i < last; i++ {
			*(*[few]float32)(dst[i*pitch:]) = [few]float32(src[i*lanes:])
		}
	} else {
		last := n
		if valid < lanes {
			last -= ceil(lanes, pitch)
		}
		for ; i < last; i++ {
			*(*[lanes]float32)(dst[i*pitch:]) = [lanes]float32(src[i*lanes:])
		}
	}
	for ; i < n; i++ {
		copy(dst[i*pitch:][:valid], src[i*lanes:])
	}
}
