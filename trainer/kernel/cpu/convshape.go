package cpu

// phase is the output pixels that meet the same taps of the window: all of them in a forward pass; in a data gradient of stride S, each of the S*S sets of pixels S apart.
// The term of a tap (offset) at a pixel is at at[pixel] + offset in a block of the source's bordered copy; the pixel's sum goes to to[pixel] in a block of the output. All are in elements.
type phase struct {
	window  []int // the taps' places in the window, r*R+s, in order
	offsets []int
	at, to  []int
}

// forwardShape is the geometry of ConvForward; the weight gradient's terms are at the same places.
func (k *prepared) forwardShape() (activation, phase) {
	s := bordered(k.input(), k.R/2)
	var p phase
	for r := range k.R {
		for c := range k.R {
			p.window = append(p.window, r*k.R+c)
			p.offsets = append(p.offsets, r*s.row()+c*lanes)
		}
	}
	for y := range k.OutH() {
		for x := range k.OutW() {
			p.at = append(p.at, y*k.Stride*s.row()+x*k.Stride*lanes)
			p.to = append(p.to, (y*k.OutW()+x)*lanes)
		}
	}
	return s, p
}

// dataGradShape is the geometry of ConvDataGrad: dx at y meets tap r at the output row (y + pad - r)/Stride, where that is whole.
func (k *prepared) dataGradShape() (activation, []phase) {
	pad := k.R / 2
	s := bordered(k.output(), pad)
	var phases []phase
	for py := range min(k.Stride, k.H) {
		for px := range min(k.Stride, k.W) {
			var p phase
			for r := range k.R {
				for c := range k.R {
					if (py+pad-r)%k.Stride == 0 && (px+pad-c)%k.Stride == 0 {
						p.window = append(p.window, r*k.R+c)
						p.offsets = append(p.offsets, ((py+pad-r)/k.Stride+pad)*s.row()+((px+pad-c)/k.Stride+pad)*lanes)
					}
				}
			}
			for y := py; y < k.H; y += k.Stride {
				for x := px; x < k.W; x += k.Stride {
					p.at = append(p.at, y/k.Stride*s.row()+x/k.Stride*lanes)
					p.to = append(p.to, (y*k.W+x)*lanes)
				}
			}
			phases = append(phases, p)
		}
	}
	return s, phases
}

// bordered is the geometry of a copy of a with pad pixels of zeros on each side.
func bordered(a activation, pad int) activation {
	return activation{a.channels, a.h + 2*pad, a.w + 2*pad}
}

// depth is the channels of a source that a chain has a term of: all of a block, unless there is but one and it isn't full.
func (a activation) depth() int {
	if a.channels < lanes {
		return a.channels
	}
	return a.padded()
}

// terms is the length of the phase's chains.
func (p *phase) terms(s activation) int { return s.depth() * len(p.window) }

// gather lays the terms of pixels [from, to) in rows, `pitch` elements apart: for each tap the channels in order. src is an image's bordered copy. Where a source has few channels, the zeros of
// their block come with them, and the next tap lies over them; so behind a row's terms are zeros, and dst has a block more than its rows.
func (p *phase) gather(dst, src []float32, s activation, pitch, from, to int) {
	step := min(s.depth(), lanes)
	for i, at := range p.at[from:to] {
		row := dst[i*pitch:]
		for _, offset := range p.offsets {
			pixel := src[at+offset:]
			for block := 0; ; {
				*(*[lanes]float32)(row) = [lanes]float32(pixel)
				row = row[step:]
				if block++; block == s.blocks() {
					break
				}
				pixel = pixel[s.plane():]
			}
		}
	}
}
