package cpu

// Of every batch normalisation: a block of images is a unit; within, one image after the other, a block of channels at a time.

// total adds up an image's accumulators [2][4][lanes] into the first of each four: (0 + 2) + (1 + 3).
func (k *prepared) total(acc []float32) {
	for i := 0; i < 8*lanes; i += 4 * lanes {
		a := &acc[i]
		k.v.Add(a, a, &acc[i+2*lanes], 2*lanes)
		k.v.Add(a, a, &acc[i+lanes], lanes)
	}
}

// addSums adds a step that sums over each block of images: sum goes on with an image's accumulators through a block of its channels. The parts, [2][padded], lie at the place that it gives.
func (k *prepared) addSums(sum func(g, n, block int, acc *float32)) (parts int) {
	a := k.input()
	c := a.padded()
	parts = k.reserve(k.Groups * k.imageBlocks() * 2 * c)
	own := k.reserve(k.pool.threads * 8 * lanes)
	k.add(k.Groups*k.imageBlocks(), k.Len(), func(worker, unit int) {
		part, acc := k.workspace(parts+unit*2*c, 2*c), k.workspace(own+worker*8*lanes, 8*lanes)
		clear(part)
		g, from, to := k.block(unit)
		for n := from; n < to; n++ {
			for block := range a.blocks() {
				clear(acc)
				sum(g, n, block, &acc[0])
				k.total(acc)
				for i := range 2 {
					s := &part[i*c+block*lanes]
					k.v.Add(s, s, &acc[i*4*lanes], lanes)
				}
			}
		}
	})
	return parts
}

// planeOf is a block of channels of image n of argument i.
func (k *prepared) planeOf(i, n, block int) *float32 {
	a := k.input()
	return &k.Real(i)[n*a.image()+block*a.plane()]
}

// statistics turns sums of x - shift and of their squares over count elements into mean, variance and record. It works in float64, rounded at the
// end: the variance is a difference. Rounding alone can make it negative; it is 0 then, and NaN stays.
func (k *prepared) statistics(sums, squares, shift []float32, count int, mean, variance, record []float32) {
	n := float64(count)
	for ch := range mean {
		d := float64(sums[ch]) / n
		v := float64(squares[ch])/n - float64(d*d)
		if v < 0 {
			v = 0
		}
		m := float32(float64(shift[ch]) + d)
		mean[ch], variance[ch] = m, float32(v)
		record[ch], record[len(mean)+ch] = m, float32(float64(v*n)/(n-1))
	}
}

// gradients turns sums of dy and of dy (x - mean) into dgamma and dbeta.
func (k *prepared) gradients(sums, products, variance, dgamma, dbeta []float32) {
	for ch, v := range variance {
		dgamma[ch], dbeta[ch] = float32(float64(products[ch])*k.rstd(v)), sums[ch]
	}
}

// squares is the chain over channels of dgamma^2, dbeta^2 of one image, of its sums(0, ch) of dy and sums(1, ch) of dy (x - mean).
func (k *prepared) squares(variance []float32, sums func(i, ch int) float32) (q float32) {
	for ch, v := range variance {
		dgamma, dbeta := float32(float64(sums(1, ch))*k.rstd(v)), sums(0, ch)
		q += float32(dgamma * dgamma)
		q += float32(dbeta * dbeta)
	}
	return q
}

// addShiftedSums sums x - shift and its squares.
func (k *prepared) addShiftedSums() (parts int) {
	shift := k.addCoefficients(1, func(_ int, c [][]float32) { copy(c[0], k.Real(1)) })
	return k.addSums(func(g, n, block int, acc *float32) {
		k.v.Sums(k.planeOf(0, n, block), shift(g, 0, block), acc, k.H*k.W)
	})
}

func planNormStats(k *prepared) {
	parts, c := k.addShiftedSums(), k.Padded(k.C)
	k.addTree(parts, 2*c, func(g int, sum []float32) {
		k.statistics(sum[:c], sum[c:], k.Real(1), k.N*k.H*k.W, k.Part(2, g), k.Part(3, g), k.Part(4, g))
	})
}

func planNormSums(k *prepared) {
	parts, c := k.addShiftedSums(), k.Padded(k.C)
	k.addTree(parts, 2*c, func(g int, sum []float32) {
		copy(k.Part(2, g)[:k.C], sum)
		copy(k.Part(2, g)[k.C:], sum[c:])
	})
}

func planNormFinish(k *prepared) {
	k.add(1, k.Groups*k.C, func(_, _ int) {
		sums := k.Real(0)
		for g := range k.Groups {
			k.statistics(sums[:k.C], sums[k.C:], k.Real(1), k.Count, k.Part(2, g), k.Part(3, g), k.Part(4, g))
		}
	})
}

// addCoefficients adds a step that computes so many coefficients [padded] for each group; at gives the i-th of group g from channel block on.
func (k *prepared) addCoefficients(count int, compute func(g int, c [][]float32)) (at func(g, i, block int) *float32) {
	c := k.Padded(k.C)
	place := k.reserve(k.Groups * count * c)
	own := make([][]float32, k.Groups*count)
	k.add(k.Groups, k.Groups*c, func(_, g int) {
		mine := own[g*count : (g+1)*count]
		for i := range mine {
			mine[i] = k.workspace(place+(g*count+i)*c, c)
			clear(mine[i])
		}
		compute(g, mine)
	})
	return func(g, i, block int) *float32 { return &k.workspace(place+(g*count+i)*c, c)[block*lanes] }
}

// addPlanes adds a step that calls run for every block of channels of every image.
func (k *prepared) addPlanes(run func(g, n, block int)) {
	blocks := k.input().blocks()
	k.addBlocks(k.Len(), func(_, g, n int) {
		for block := range blocks {
			run(g, n, block)
		}
	})
}

func planNormForward(k *prepared) {
	at := k.addCoefficients(2, func(g int, c [][]float32) {
		k.affine(k.Part(1, g), k.Part(2, g), k.Real(3), k.Real(4), c[0], c[1])
	})
	k.addPlanes(func(g, n, block int) {
		k.v.Norm(k.planeOf(5, n, block), k.planeOf(0, n, block), at(g, 0, block), at(g, 1, block), k.H*k.W)
	})
}

func planNormGradSums(k *prepared) {
	at := k.addCoefficients(1, func(g int, c [][]float32) { copy(c[0], k.Part(2, g)) })
	parts, c := k.addSums(func(g, n, block int, acc *float32) {
		k.v.GradSums(k.planeOf(0, n, block), k.planeOf(1, n, block), at(g, 0, block), acc, k.H*k.W)
	}), k.Padded(k.C)
	k.addTree(parts, 2*c, func(g int, sum []float32) {
		k.gradients(sum[:c], sum[c:], k.Part(3, g), k.Part(4, g), k.Part(5, g))
	})
}

func planNormDataGrad(k *prepared) {
	at := k.addCoefficients(3, func(g int, c [][]float32) {
		k.gradientAffine(k.Part(2, g), k.Part(3, g), k.Real(4), k.Part(5, g), k.Part(6, g), c[0], c[1], c[2])
	})
	k.addPlanes(func(g, n, block int) {
		k.v.NormGrad(k.planeOf(7, n, block), k.planeOf(0, n, block), k.planeOf(1, n, block), at(g, 0, block), at(g, 1, block), at(g, 2, block), k.H*k.W)
	})
}

func planNormEvalDataGrad(k *prepared) {
	at := k.addCoefficients(1, func(_ int, c [][]float32) { k.scale(k.Real(1), k.Real(2), c[0]) })
	k.addPlanes(func(g, n, block int) {
		k.v.Scale(k.planeOf(3, n, block), k.planeOf(0, n, block), at(g, 0, block), k.H*k.W)
	})
}

func planNormSquares(k *prepared) {
	mean := k.addCoefficients(1, func(_ int, c [][]float32) { copy(c[0], k.Real(2)) })
	a := k.input()
	size := a.blocks() * 8 * lanes
	own := k.reserve(k.pool.threads * size)
	k.addBlocks(k.Len(), func(worker, g, n int) {
		acc := k.workspace(own+worker*size, size)
		clear(acc)
		for block := range a.blocks() {
			k.v.GradSums(k.planeOf(0, n, block), k.planeOf(1, n/k.Repeats(), block), mean(g, 0, block), &acc[block*8*lanes], k.H*k.W)
			k.total(acc[block*8*lanes:][:8*lanes])
		}
		k.Real(4)[n] += k.squares(k.Real(3), func(i, ch int) float32 { return acc[ch/lanes*8*lanes+i*4*lanes+ch%lanes] })
	})
}
