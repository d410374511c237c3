package cpu

// source is the image that a convolution reads: an input for the forward pass, dy for the data gradient. Its planes are copied with a border of zeros.
type source struct {
	channels, h, w, pad int
}

func (s source) pitch() int { return s.w + 2*s.pad }
func (s source) plane() int { return (s.h + 2*s.pad) * s.pitch() }
func (s source) size() int  { return s.channels * s.plane() }

// border copies image [channels][h][w] into dst [channels][h+2pad][w+2pad].
func (s source) border(dst, image []float32) {
	clear(dst)
	for ch := range s.channels {
		for y := range s.h {
			copy(dst[ch*s.plane()+(y+s.pad)*s.pitch()+s.pad:], image[(ch*s.h+y)*s.w:(ch*s.h+y+1)*s.w])
		}
	}
}

// phase is the output pixels that meet the same taps of the window: all of them in a forward pass; in a data gradient of stride S, each of the S*S sets of pixels S apart.
// The term of a tap (offset) at a pixel is at at[pixel] + offset in the source's bordered plane; the pixel's sum goes to to[pixel] in the output's plane.
type phase struct {
	window  []int // the taps' places in the window, r*R+s, in order
	offsets []int
	at, to  []int
}

// forwardShape is the geometry of ConvForward; the weight gradient's terms are at the same places.
func (k *prepared) forwardShape() (source, phase) {
	s := source{k.C, k.H, k.W, k.R / 2}
	var p phase
	for r := range k.R {
		for c := range k.R {
			p.window = append(p.window, r*k.R+c)
			p.offsets = append(p.offsets, r*s.pitch()+c)
		}
	}
	for y := range k.OutH() {
		for x := range k.OutW() {
			p.at = append(p.at, y*k.Stride*s.pitch()+x*k.Stride)
			p.to = append(p.to, y*k.OutW()+x)
		}
	}
	return s, p
}

// dataGradShape is the geometry of ConvDataGrad: dx at y meets tap r at the output row (y + pad - r)/Stride, where that is whole.
func (k *prepared) dataGradShape() (source, []phase) {
	pad := k.R / 2
	s := source{k.K, k.OutH(), k.OutW(), pad}
	var phases []phase
	for py := range min(k.Stride, k.H) {
		for px := range min(k.Stride, k.W) {
			var p phase
			for r := range k.R {
				for c := range k.R {
					if (py+pad-r)%k.Stride == 0 && (px+pad-c)%k.Stride == 0 {
						p.window = append(p.window, r*k.R+c)
						p.offsets = append(p.offsets, ((py+pad-r)/k.Stride+pad)*s.pitch()+(px+pad-c)/k.Stride+pad)
					}
				}
			}
			for y := py; y < k.H; y += k.Stride {
				for x := px; x < k.W; x += k.Stride {
					p.at = append(p.at, y/k.Stride*s.pitch()+x/k.Stride)
					p.to = append(p.to, y*k.W+x)
				}
			}
			phases = append(phases, p)
		}
	}
	return s, phases
}

// terms is the length of the phase's chains.
func (p *phase) terms(s source) int { return s.channels * len(p.window) }

// packPixels lays the terms of pixels a and b into a column panel.
func (p *phase) packPixels(panel, bordered []float32, plane, a, b int) {
	rest := panel
	for ; len(bordered) > 0; bordered = bordered[plane:] {
		fromA, fromB, offsets := bordered[p.at[a]:], bordered[p.at[b]:], p.offsets
		for ; len(offsets) >= 3; offsets = offsets[3:] { // a row of the usual window
			three := (*[3 * tileCols]float32)(rest)
			i, j, k := offsets[0], offsets[1], offsets[2]
			three[0], three[1] = fromA[i], fromB[i]
			three[2], three[3] = fromA[j], fromB[j]
			three[4], three[5] = fromA[k], fromB[k]
			rest = rest[len(three):]
		}
		for _, i := range offsets {
			one := (*[tileCols]float32)(rest)
			one[0], one[1] = fromA[i], fromB[i]
			rest = rest[len(one):]
		}
	}
	clear(rest)
}

// packTaps lays, for every pixel, the terms of taps a and b, given by their places in the bordered image, into a column panel.
func (p *phase) packTaps(panel, bordered []float32, a, b int) {
	fromA, fromB := bordered[a:], bordered[b:]
	rest, at := panel, p.at
	for ; len(at) >= 4; at = at[4:] {
		four := (*[4 * tileCols]float32)(rest)
		i, j, k, l := at[0], at[1], at[2], at[3]
		four[0], four[1] = fromA[i], fromB[i]
		four[2], four[3] = fromA[j], fromB[j]
		four[4], four[5] = fromA[k], fromB[k]
		four[6], four[7] = fromA[l], fromB[l]
		rest = rest[len(four):]
	}
	for _, i := range at {
		one := (*[tileCols]float32)(rest)
		one[0], one[1] = fromA[i], fromB[i]
		rest = rest[len(one):]
	}
	clear(rest)
}
