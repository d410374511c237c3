//go:build gpu

package cuda

// addGradSums and addShiftedSums add the launch that leaves the sums of each channel of each image, [2][images][C][4].
func (k *prepared) addGradSums(meanStride int) (acc place) {
	n := 4 * k.images() * k.C
	acc = k.reserve(2 * n)
	k.add("grad_sums", n, k.arg(0), k.arg(1), k.arg(2), acc, n, k.N, k.C, k.plane(), meanStride, k.Repeats())
	return acc
}

func (k *prepared) addShiftedSums() (acc place) {
	n := 4 * k.images() * k.C
	acc = k.reserve(2 * n)
	k.add("shifted_sums", n, k.arg(0), k.arg(1), acc, n, k.C, k.plane())
	return acc
}

// addGroupSums adds them up to [2][C] for each group.
func (k *prepared) addGroupSums(acc, to place, stride int) {
	n := k.Groups * k.imageBlocks() * 2 * k.C
	parts := k.reserve(n)
	k.add("block_sums", n, acc, parts, n, k.images(), k.N, k.C)
	k.addTree(parts, 2*k.C, to, stride)
}

// addStatistics makes mean, variance and record, arguments 2 to 4, of sums.
func (k *prepared) addStatistics(sums place, stride, count int) {
	n := k.Groups * k.C
	record := k.args[4].Stride
	k.add("norm_statistics", n, sums, k.arg(1), k.arg(2), k.arg(3), k.arg(4), n, k.C, stride, record, float64(count))
}

func planNormStats(k *prepared) {
	acc := k.addShiftedSums()
	sums := k.reserve(k.Groups * 2 * k.C)
	k.addGroupSums(acc, sums, 2*k.C)
	k.addStatistics(sums, 2*k.C, k.N*k.plane())
}

func planNormSums(k *prepared) { k.addGroupSums(k.addShiftedSums(), k.arg(2), k.stride(2)) }

func planNormFinish(k *prepared) { k.addStatistics(k.arg(0), 0, k.Count) }

func planNormForward(k *prepared) {
	groups, images := k.Groups, k.N
	if k.args[1].Parts == 1 {
		groups, images = 1, k.images()
	}
	n := groups * k.C
	affine := k.reserve(2 * n)
	k.add("norm_affine", n, k.arg(1), k.arg(2), k.arg(3), k.arg(4), affine, n, k.C, k.args[1].Stride, k.Epsilon)
	k.add("norm_forward", k.inputs(), k.arg(0), affine, k.arg(5), k.inputs(), images, k.C, k.plane())
}

func planNormGradSums(k *prepared) {
	acc := k.addGradSums(k.C)
	sums, n := k.reserve(k.Groups*2*k.C), k.Groups*k.C
	k.addGroupSums(acc, sums, 2*k.C)
	k.add("norm_gradients", n, sums, k.arg(3), k.arg(4), k.arg(5), n, k.C, k.stride(4), k.Epsilon)
}

func planNormDataGrad(k *prepared) {
	n := k.Groups * k.C
	affine := k.reserve(3 * n)
	k.add("norm_grad_affine", n, k.arg(2), k.arg(3), k.arg(4), k.arg(5), k.arg(6), affine, n, k.C, k.stride(5), k.Epsilon, float64(k.Count))
	k.add("norm_data_grad", k.inputs(), k.arg(0), k.arg(1), affine, k.arg(7), k.inputs(), k.N, k.C, k.plane())
}

func planNormEvalDataGrad(k *prepared) {
	scale := k.reserve(k.C)
	k.add("norm_scale", k.C, k.arg(1), k.arg(2), scale, k.C, k.Epsilon)
	k.add("norm_eval_data_grad", k.inputs(), k.arg(0), scale, k.arg(3), k.inputs(), k.C, k.plane())
}

func planNormSquares(k *prepared) {
	acc := k.addGradSums(0)
	k.add("norm_squares", k.images(), acc, k.arg(3), k.arg(4), k.images(), k.C, k.Epsilon)
}
