// The end of sums of a batch normalisation's gradients in half precision, in the order of half.h, whether a convolution or a kernel of their own has the runs: of g and of g (x - mean) over a group, or over each image.
#pragma once

#include "half.h"

struct NormParts {
	const float *mean, *variance; // [C], of groups `stride` apart
	float *dgamma, *dbeta;        // [C] of each group, sums_stride apart
	float* q;                     // or else their squares of each image, added to
	float *parts, *cells;         // [groups][blocks of channels][parts][SUMS], and the same of cells
	int* counters;                // as GroupSums wants them for each group and slice; or one of each image
	int stride, sums_stride;
	float epsilon;
};

// put_part puts a part's sums into the workspace; runs lie [blocks][apart], those of a block [PART_RUNS][SUMS].
DEVICE void put_part(const NormParts& s, const float* runs, int pixels, int group, int part, int n, int first, int blocks, int all, int apart) {
	for (int i = threadIdx.x; i < blocks * SUMS; i += blockDim.x)
		s.parts[((group * all + first + i / SUMS) * n + part) * SUMS + i % SUMS] = sum_of_runs(runs + i / SUMS * apart + i % SUMS, ceil_div(pixels, RUN_PIXELS), SUMS);
}

// group_gradients ends a group in its last block: dgamma and dbeta of a slice of channels. scratch is GROUP_SUMS_SCRATCH(blocks) floats of shared memory.
DEVICE void group_gradients(const NormParts& s, int group, int part, int n, int share, int slice, int slices, int first, int blocks, int C, float* scratch) {
	const int cells = ceil_div(n, CELL_PARTS), at = group * ceil_div(C, CHANNELS) + first;
	GroupSums sums = {s.parts + at * n * SUMS, s.cells + at * cells * SUMS, s.counters + (group * slices + slice) * (cells + 1), n, share, blocks};
	if (!group_sums(sums, part, scratch)) return;
	for (int i = threadIdx.x; i < blocks * CHANNELS; i += blockDim.x) {
		int c = first * CHANNELS + i;
		if (c >= C) continue;
		const float* of = scratch + i / CHANNELS * SUMS + i % CHANNELS;
		s.dgamma[group * s.sums_stride + c] = of[CHANNELS] * half_rstd(s.variance[group * s.stride + c], s.epsilon);
		s.dbeta[group * s.sums_stride + c] = of[0];
	}
}

// image_squares ends an image in the last of the `of` blocks that have put parts of it into the workspace: the squares of its dgamma and dbeta, as chains over the blocks of channels, then 16 channels by halves. An image has
// `each` parts of the n of its group.
DEVICE void image_squares(const NormParts& s, int image, int each, int n, int N, int of, int C, float* scratch) {
	int* flag = (int*)(scratch + 2 * 8 * SUMS);
	if (!is_last(s.counters + image, of, flag)) return;
	const int blocks = ceil_div(C, CHANNELS), group = image / N, i = threadIdx.x % CHANNELS;
	float sum = 0.0f;
	for (int block = 0; block < blocks; block++) {
		add_up(s.parts + ((group * blocks + block) * n + image % N * each) * SUMS, each, 0, 1, scratch);
		int c = block * CHANNELS + i;
		if (c < C) {
			float dgamma = scratch[CHANNELS + i] * half_rstd(s.variance[c], s.epsilon), dbeta = scratch[i];
			sum = __fmaf_rn(dgamma, dgamma, __fmaf_rn(dbeta, dbeta, sum));
		}
		BARRIER();
	}
	for (int half = CHANNELS / 2; half > 0; half /= 2) sum += __shfl_xor_sync(~0u, sum, half);
	if (threadIdx.x == 0) s.q[image] += sum;
}
