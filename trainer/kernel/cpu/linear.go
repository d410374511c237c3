package cpu

// vector is image n's numbers among v, width for each image.
func vector(v []float32, n, width int) []float32 { return v[n*width : (n+1)*width] }

func planLinearForward(k *prepared) {
	k.add(k.Groups*k.N, k.Groups*k.N*k.K*k.C, func(_, n int) {
		x, b, y := vector(k.Real(0), n, k.C), k.Real(2), vector(k.Real(3), n, k.K)
		for i := range y {
			sum := float32(0)
			for c, w := range vector(k.Real(1), i, k.C) {
				sum += float32(x[c] * w)
			}
			y[i] = sum + b[i]
		}
	})
}

func planLinearDataGrad(k *prepared) {
	k.add(k.Groups*k.N, k.Groups*k.N*k.K*k.C, func(_, n int) {
		dx := vector(k.Real(2), n, k.C)
		clear(dx)
		for i, d := range vector(k.Real(0), n, k.K) {
			addScaled(dx, d, vector(k.Real(1), i, k.C))
		}
	})
}

// addScaled adds a v to sums.
func addScaled(sums []float32, a float32, v []float32) {
	for i, x := range v {
		sums[i] += float32(a * x)
	}
}

// addBlockVectors adds a step that sums vectors of width over each block of images into the workspace, for addTree.
func (k *prepared) addBlockVectors(width int, sum func(n int, part []float32)) {
	k.Scratch = k.Groups * k.blocks() * width
	k.add(k.Groups*k.blocks(), k.Groups*k.N*width, func(_, unit int) {
		_, from, to := k.block(unit)
		part := k.workspace(unit*width, width)
		clear(part)
		for n := from; n < to; n++ {
			sum(n, part)
		}
	})
}

func planLinearWeightGrad(k *prepared) {
	k.addBlockVectors(k.K*k.C, func(n int, part []float32) {
		x := vector(k.Real(0), n, k.C)
		for i, d := range vector(k.Real(1), n, k.K) {
			addScaled(vector(part, i, k.C), d, x)
		}
	})
	k.addTree(k.K*k.C, func(g, from, to int, sum []float32) { copy(k.Part(2, g)[from:to], sum) })
}

func planLinearBiasGrad(k *prepared) {
	k.addBlockVectors(k.K, func(n int, part []float32) {
		for i, d := range vector(k.Real(0), n, k.K) {
			part[i] += d
		}
	})
	k.addTree(k.K, func(g, from, to int, sum []float32) { copy(k.Part(1, g)[from:to], sum) })
}

// planLinearSquares uses that the weight gradient of one image is an outer product, whose norm is the product of the norms.
func planLinearSquares(k *prepared) {
	k.add(k.Groups*k.N, k.Groups*k.N*(k.C+k.K), func(_, n int) {
		x, dy := squares(vector(k.Real(0), n, k.C)), squares(vector(k.Real(1), n, k.K))
		k.Real(2)[n] += float32(dy*x) + dy
	})
}

// squares is the chain of the squares of v.
func squares(v []float32) (sum float32) {
	for _, x := range v {
		sum += float32(x * x)
	}
	return sum
}
