//go:build gpu

package cuda

// addHalfStats adds the launch that makes mean, variance and record, or else sums, of argument 0.
func (k *prepared) addHalfStats(mean, variance, record, sums any, recordStride, sumsStride int) {
	p, blocks := partsOf(k.H, k.W), k.Padded(k.C)/lanes
	n := k.N * p.each()
	parts, cells, counters := k.groupSums(n, blocks, blocks)
	k.addBlocks("half_norm_stats", k.Groups*blocks*n, halfThreads, 0, k.arg(0), k.arg(1), mean, variance, record, sums, parts, cells, counters,
		k.N, k.C, k.H, k.W, p.rows, p.columns, recordStride, sumsStride)
}

func planHalfNormStats(k *prepared) {
	k.addHalfStats(k.arg(2), k.arg(3), k.arg(4), 0, k.args[4].Stride, 0)
}

func planHalfNormSums(k *prepared) { k.addHalfStats(0, 0, 0, k.arg(2), 0, k.args[2].Stride) }

func planHalfNormForward(k *prepared) {
	k.addHalfNorm(k.arg(0), k.arg(1), k.arg(2), k.arg(3), k.arg(4), 0, k.arg(5), k.stride(1))
}

// addHalfNorm adds the launches that make y = norm(x) or, where r is an argument, relu(norm(x) + r); stride is that of mean and variance, 0 where all groups share one part.
func (k *prepared) addHalfNorm(x, mean, variance, gamma, beta, r, y any, stride int) {
	groups, images := k.Groups, k.N
	if stride == 0 {
		groups, images = 1, k.images()
	}
	n := groups * k.Padded(k.C)
	affine := k.reserve(2 * n)
	k.add("half_norm_affine", n, mean, variance, gamma, beta, affine, n, k.C, stride, float32(k.Epsilon))
	k.add("half_norm_forward", k.vectors(), x, affine, r, y, k.vectors(), images, k.Padded(k.C)/lanes, k.plane())
}
