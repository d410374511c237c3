package cpu

// convolution is a forward pass or a data gradient: for each phase, weights as rows (4 output channels) times pixels as columns (2 of them).
// The workspace holds the packed weights, then each worker's bordered image and column panels.
type convolution struct {
	*prepared
	source
	phases  []phase
	weights []int // of each phase, its packed weights' place in the workspace
	bounds  []int // of each phase, its first unit of packing; and their end
	outputs int   // output channels
	plane   int   // elements of an output plane
	own     int   // place of worker 0's scratch
	scratch int   // elements of a worker's
	// The weight of output channel o, source channel i and tap t is at o*outputStride + i*sourceStride + t.
	outputStride, sourceStride int
}

// batch is the pixel pairs whose panels are packed before the weights go over them: they stay in the nearest cache.
func batch(terms int) int { return max(1, 6144/max(1, colPanel(terms))) }

func (c *convolution) plan(in, out int) {
	place, widest := 0, 0
	for i := range c.phases {
		p := &c.phases[i]
		terms := p.terms(c.source)
		c.weights = append(c.weights, place)
		c.bounds = append(c.bounds, i*ceil(c.outputs, tileRows))
		place += ceil(c.outputs, tileRows) * rowPanel(terms)
		widest = max(widest, batch(terms)*colPanel(terms))
	}
	c.own, c.scratch = place, whole(c.source.size())+widest
	c.Scratch = place + c.pool.threads*c.scratch
	quads := ceil(c.outputs, tileRows)
	images, macs := c.Groups*c.N, c.Groups*c.N*c.OutH()*c.OutW()*c.K*c.C*c.R*c.R
	c.add(len(c.phases)*quads, c.K*c.C*c.R*c.R, func(_, unit int) { c.packWeights(c.Real(1), unit/quads, unit%quads) })
	c.add(images, macs, func(worker, n int) {
		inSize, outSize := c.channels*c.source.h*c.source.w, c.outputs*c.plane
		c.image(worker, c.Real(in)[n*inSize:(n+1)*inSize], c.Real(out)[n*outSize:(n+1)*outSize])
	})
}

// packWeights lays the weights of 4 output channels into their row panel.
func (c *convolution) packWeights(w []float32, phase, quad int) {
	p := &c.phases[phase]
	size := rowPanel(p.terms(c.source))
	panel := c.workspace(c.weights[phase]+quad*size, size)
	clear(panel)
	for row := range min(tileRows, c.outputs-quad*tileRows) {
		from := w[(quad*tileRows+row)*c.outputStride:]
		for i := range c.channels {
			for j, tap := range p.window {
				panel[(i*len(p.window)+j)*tileRows+row] = from[i*c.sourceStride+tap]
			}
		}
	}
}

// image convolves one image.
func (c *convolution) image(worker int, in, out []float32) {
	scratch := c.workspace(c.own+worker*c.scratch, c.scratch)
	bordered, panels := scratch[:c.source.size()], scratch[whole(c.source.size()):]
	c.border(bordered, in)
	for i := range c.phases {
		p := &c.phases[i]
		terms := p.terms(c.source)
		step := batch(terms) * tileCols
		weights := c.workspace(c.weights[i], ceil(c.outputs, tileRows)*rowPanel(terms))
		for pixel := 0; pixel < len(p.at); pixel += step {
			c.pixels(p, weights, bordered, panels, out, pixel, min(pixel+step, len(p.at)))
		}
	}
}

// pixels computes all output channels of pixels [from, to) of a phase.
func (c *convolution) pixels(p *phase, weights, bordered, panels, out []float32, from, to int) {
	terms := p.terms(c.source)
	rows, cols := rowPanel(terms), colPanel(terms)
	for a := from; a < to; a += tileCols {
		panel := panels[(a-from)/tileCols*cols:][:cols]
		p.packPixels(panel, bordered, c.source.plane(), a, min(a+1, to-1))
	}
	for first := 0; first < c.outputs; first += tileRows {
		row := weights[first/tileRows*rows:][:rows]
		for a := from; a < to; a += tileCols {
			var sums [tileSize]float32
			tile(row, panels[(a-from)/tileCols*cols:][:cols], &sums)
			at, bt := p.to[a], p.to[min(a+1, to-1)]
			for i := range min(tileRows, c.outputs-first) {
				o := out[(first+i)*c.plane:][:c.plane]
				o[bt] = sums[i*tileCols+1]
				o[at] = sums[i*tileCols] // last: a lone pixel's second column is zeros or itself
			}
		}
	}
}

func planConvForward(k *prepared) {
	s, p := k.forwardShape()
	c := &convolution{prepared: k, source: s, phases: []phase{p}, outputs: k.K, plane: k.OutH() * k.OutW(),
		outputStride: k.C * k.R * k.R, sourceStride: k.R * k.R}
	c.plan(0, 2)
}

func planConvDataGrad(k *prepared) {
	s, p := k.dataGradShape()
	c := &convolution{prepared: k, source: s, phases: p, outputs: k.C, plane: k.H * k.W,
		outputStride: k.R * k.R, sourceStride: k.C * k.R * k.R}
	c.plan(0, 2)
}
