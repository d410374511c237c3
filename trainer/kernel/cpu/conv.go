package cpu

// convolution is a forward pass or a data gradient: for each phase, weights as rows (a strip of output channels) times pixels as columns (2 of them).
// The workspace holds the packed weights, then each worker's chains, bordered image and column panels.
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
func batch(terms int) int { return max(1, 6144/max(1, tileMany*colPanel(terms))) * tileMany }

func (c *convolution) plan(in, out int) {
	place, widest := 0, 0
	for i := range c.phases {
		p := &c.phases[i]
		terms := p.terms(c.source)
		c.weights = append(c.weights, place)
		c.bounds = append(c.bounds, i*c.strips())
		place += c.strips() * c.tile.rowPanel(terms)
		widest = max(widest, batch(terms)*colPanel(terms))
	}
	c.own, c.scratch = place, tileMany*c.tile.chains()+whole(c.source.size())+widest
	c.Scratch = place + c.pool.threads*c.scratch
	strips := c.strips()
	images, macs := c.Groups*c.N, c.Groups*c.N*c.OutH()*c.OutW()*c.K*c.C*c.R*c.R
	c.add(len(c.phases)*strips, c.K*c.C*c.R*c.R, func(_, unit int) { c.packWeights(c.Real(1), unit/strips, unit%strips) })
	c.add(images, macs, func(worker, n int) {
		inSize, outSize := c.channels*c.source.h*c.source.w, c.outputs*c.plane
		c.image(worker, c.Real(in)[n*inSize:(n+1)*inSize], c.Real(out)[n*outSize:(n+1)*outSize])
	})
}

// strips is the row panels of a phase.
func (c *convolution) strips() int { return ceil(c.outputs, c.tile.rows) }

// packWeights lays the weights of a strip of output channels into their row panel.
func (c *convolution) packWeights(w []float32, phase, strip int) {
	p, rows := &c.phases[phase], c.tile.rows
	size := c.tile.rowPanel(p.terms(c.source))
	panel := c.workspace(c.weights[phase]+strip*size, size)
	clear(panel)
	for row := range min(rows, c.outputs-strip*rows) {
		from := w[(strip*rows+row)*c.outputStride:]
		for i := range c.channels {
			for j, tap := range p.window {
				panel[(i*len(p.window)+j)*rows+row] = from[i*c.sourceStride+tap]
			}
		}
	}
}

// image convolves one image.
func (c *convolution) image(worker int, in, out []float32) {
	scratch := c.workspace(c.own+worker*c.scratch, c.scratch)
	chains, scratch := scratch[:tileMany*c.tile.chains()], scratch[tileMany*c.tile.chains():]
	bordered, panels := scratch[:c.source.size()], scratch[whole(c.source.size()):]
	c.border(bordered, in)
	for i := range c.phases {
		p := &c.phases[i]
		terms := p.terms(c.source)
		step := batch(terms) * tileCols
		weights := c.workspace(c.weights[i], c.strips()*c.tile.rowPanel(terms))
		for pixel := 0; pixel < len(p.at); pixel += step {
			c.pixels(p, weights, bordered, panels, chains, out, pixel, min(pixel+step, len(p.at)))
		}
	}
}

// pixels computes all output channels of pixels [from, to) of a phase.
func (c *convolution) pixels(p *phase, weights, bordered, panels, chains, out []float32, from, to int) {
	terms := p.terms(c.source)
	if terms == 0 {
		c.nothing(p, out, from, to)
		return
	}
	rows, cols := c.tile.rowPanel(terms), colPanel(terms)
	count := ceil(to-from, tileCols)
	for i := range count {
		a := from + i*tileCols
		p.packPixels(panels[i*cols:][:cols], bordered, c.source.plane(), a, min(a+1, to-1))
	}
	for first := 0; first < c.outputs; first += c.tile.rows {
		row := &weights[first/c.tile.rows*rows]
		for i := 0; i < count; {
			clear(chains)
			together, tile := tileMany, c.tile.many
			if count-i < tileMany {
				together, tile = 1, c.tile.one
			}
			tile(row, &panels[i*cols], cols, depth(terms), &chains[0])
			for n := range together {
				c.store(p, chains[n*c.tile.chains():], out, first, from+(i+n)*tileCols, to)
			}
			i += together
		}
	}
}

// store puts a tile's sums, of output channels from first on, at pixels a and a+1 of a phase, as far as there are.
func (c *convolution) store(p *phase, sums, out []float32, first, a, end int) {
	at, n := p.to[a], min(c.tile.rows, c.outputs-first)
	for i, v := range sums[:n] {
		out[(first+i)*c.plane+at] = v
	}
	if a+1 < end {
		at = p.to[a+1]
		for i, v := range sums[c.tile.rows:][:n] {
			out[(first+i)*c.plane+at] = v
		}
	}
}

// nothing is what pixels get that meet no tap.
func (c *convolution) nothing(p *phase, out []float32, from, to int) {
	for o := range c.outputs {
		for _, at := range p.to[from:to] {
			out[o*c.plane+at] = 0
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
