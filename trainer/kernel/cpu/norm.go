package cpu

import "math"

// Of every batch normalisation: a block of images is a unit; within, one channel after the other; a plane is H*W elements.

// plane is channel ch of image n.
func (k *prepared) plane(v []float32, n, ch int) []float32 {
	size := k.H * k.W
	from := (n*k.C + ch) * size
	return v[from : from+size : from+size]
}

// addBlockSums adds a step that sums over each block of images: sum adds an image's plane of a channel into as many lanes as there are sums. Their parts, [sums][C], lie in the workspace for addTree.
func (k *prepared) addBlockSums(sums int, sum func(g, n, ch int, l *[2]lanes)) {
	k.Scratch = k.Groups * k.blocks() * sums * k.C
	own := make([][2]lanes, k.pool.threads) // on the stack they would escape, and allocate in every launch
	k.add(k.Groups*k.blocks(), k.Len(), func(worker, unit int) {
		l := &own[worker]
		g, from, to := k.block(unit)
		part := k.workspace(unit*sums*k.C, sums*k.C)
		for ch := range k.C {
			*l = [2]lanes{}
			for n := from; n < to; n++ {
				sum(g, n, ch, l)
			}
			for i := range sums {
				part[i*k.C+ch] = l[i].total()
			}
		}
	})
}

func planNormStats(k *prepared) {
	count := float32(k.N * k.H * k.W)
	k.addBlockSums(1, func(_, n, ch int, l *[2]lanes) { l[0].add(k.plane(k.Real(0), n, ch)) })
	k.addTree(k.C, func(g, from, to int, sum []float32) {
		for i, s := range sum {
			mean := s / count
			k.Part(1, g)[from+i], k.Part(3, g)[from+i] = mean, mean
		}
	})
	k.addBlockSums(1, func(g, n, ch int, l *[2]lanes) { l[0].addSquares(k.plane(k.Real(0), n, ch), k.Part(1, g)[ch]) })
	k.addTree(k.C, func(g, from, to int, sum []float32) {
		for i, s := range sum {
			k.Part(2, g)[from+i], k.Part(3, g)[k.C+from+i] = s/count, s/(count-1)
		}
	})
}

func planNormSums(k *prepared) {
	k.addBlockSums(2, func(_, n, ch int, l *[2]lanes) {
		x, shift := k.plane(k.Real(0), n, ch), k.Real(1)[ch]
		l[0].addShifted(x, shift)
		l[1].addSquares(x, shift)
	})
	k.addTree(2*k.C, func(g, from, to int, sum []float32) { copy(k.Part(2, g)[from:to], sum) })
}

// planNormFinish works in float64: the variance is a difference. Rounding alone can make it negative; it is 0 then, and NaN stays.
func planNormFinish(k *prepared) {
	count := float64(k.Count)
	k.add(1, k.Groups*k.C, func(_, _ int) {
		sums, shift := k.Real(0), k.Real(1)
		for ch := range k.C {
			d := float64(sums[ch]) / count
			variance := float64(sums[k.C+ch])/count - float64(d*d)
			if variance < 0 {
				variance = 0
			}
			mean, unbiased := float32(float64(shift[ch])+d), float32(float64(variance*count)/(count-1))
			for g := range k.Groups {
				k.Part(2, g)[ch], k.Part(3, g)[ch] = mean, float32(variance)
				k.Part(4, g)[ch], k.Part(4, g)[k.C+ch] = mean, unbiased
			}
		}
	})
}

// rstd is 1/sqrt(variance + Epsilon).
func (k *prepared) rstd(variance float32) float32 {
	return float32(1 / math.Sqrt(float64(variance)+k.Epsilon))
}

// addPlanes adds a step that calls run for every plane.
func (k *prepared) addPlanes(run func(g, n, ch int)) {
	k.add(k.Groups*k.blocks(), k.Len(), func(_, unit int) {
		g, from, to := k.block(unit)
		for n := from; n < to; n++ {
			for ch := range k.C {
				run(g, n, ch)
			}
		}
	})
}

func planNormForward(k *prepared) {
	k.addPlanes(func(g, n, ch int) {
		mean, a, b := k.Part(1, g)[ch], float32(k.Real(3)[ch]*k.rstd(k.Part(2, g)[ch])), k.Real(4)[ch]
		y := k.plane(k.Real(5), n, ch)
		for i, v := range k.plane(k.Real(0), n, ch) {
			y[i] = float32((v-mean)*a) + b
		}
	})
}

func planNormGradSums(k *prepared) {
	k.addBlockSums(2, func(g, n, ch int, l *[2]lanes) {
		dy := k.plane(k.Real(0), n, ch)
		l[0].addProducts(dy, k.plane(k.Real(1), n, ch), k.Part(2, g)[ch])
		l[1].add(dy)
	})
	k.addTree(2*k.C, func(g, from, _ int, sum []float32) {
		for i, s := range sum {
			if ch := from + i; ch < k.C {
				k.Part(4, g)[ch] = float32(s * k.rstd(k.Part(3, g)[ch]))
			} else {
				k.Part(5, g)[ch-k.C] = s
			}
		}
	})
}

func planNormDataGrad(k *prepared) {
	count := float32(k.Count)
	k.addPlanes(func(g, n, ch int) {
		mean, rstd := k.Part(2, g)[ch], k.rstd(k.Part(3, g)[ch])
		a, b, slope := float32(k.Real(4)[ch]*rstd), k.Part(6, g)[ch]/count, float32(k.Part(5, g)[ch]/count*rstd)
		x, dx := k.plane(k.Real(1), n, ch), k.plane(k.Real(7), n, ch)
		for i, d := range k.plane(k.Real(0), n, ch) {
			dx[i] = float32((d - b - float32((x[i]-mean)*slope)) * a)
		}
	})
}

func planNormEvalDataGrad(k *prepared) {
	k.addPlanes(func(_, n, ch int) {
		a := float32(k.Real(2)[ch] * k.rstd(k.Real(1)[ch]))
		dx := k.plane(k.Real(3), n, ch)
		for i, d := range k.plane(k.Real(0), n, ch) {
			dx[i] = float32(d * a)
		}
	})
}

func planNormSquares(k *prepared) {
	k.add(k.Groups*k.N, k.Len(), func(_, n int) {
		sum := float32(0)
		for ch := range k.C {
			var l [2]lanes
			dy := k.plane(k.Real(0), n, ch)
			l[0].addProducts(dy, k.plane(k.Real(1), n, ch), k.Real(2)[ch])
			l[1].add(dy)
			dgamma, dbeta := float32(l[0].total()*k.rstd(k.Real(3)[ch])), l[1].total()
			sum += float32(dgamma * dgamma)
			sum += float32(dbeta * dbeta)
		}
		k.Real(4)[n] += sum
	})
}
