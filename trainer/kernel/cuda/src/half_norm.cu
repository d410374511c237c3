// Batch normalisation of half precision by itself: x [M][C/16][H][W][16], G groups of N images.
//
//   half_norm_stats    mean, variance and record of each channel of a group, or the sums of (x - shift) and its square, in the order of half.h; a block of threads does a part of a block of channels
//   half_norm_affine   scale and bias [G][C/16][16] of norm
//   half_norm_forward  y = norm(x), or relu(norm(x) + r) with each of the three rounded; a thread does 8 numbers, 16 bytes, n times
//
// FLOPs: 3 a number, or 2 to 4. Bytes: 2 for each number that is read or written; what is per channel or part is small beside it.

#include "half.h"

KERNEL_BOUNDS(half_norm_stats, PART_PIXELS, (const bf16* x, const float* shift, float* mean, float* variance, float* record, float* sums, float* parts, float* cells, int* counters, int N, int C, int H, int W, int rows, int columns,
                                   int record_stride, int sums_stride)) {
	SHARED(float, scratch, GROUP_SUMS_SCRATCH(1));
	SHARED(float, runs, PART_RUNS * SUMS);
	const int wide = ceil_div(W, columns), each = wide * ceil_div(H, rows), n = N * each, blocks = ceil_div(C, CHANNELS);
	const int number = blockIdx.x % n, block = blockIdx.x / n % blocks, group = blockIdx.x / n / blocks;
	const int image = group * N + number / each, top = number % each / wide * rows, left = number % each % wide * columns;
	const int width = min(columns, W - left), pixels = min(rows, H - top) * width, run = threadIdx.x / 32;
	const int first = block * CHANNELS + RunSums::channel();
	float by[4];
	for (int i = 0; i < 4; i++) by[i] = first + i < C ? shift[first + i] : 0.0f;
	RunSums of;
	for (int pixel = run * RUN_PIXELS + RunSums::pixel(); pixel < min(pixels, (run + 1) * RUN_PIXELS); pixel += 8) {
		float d[4];
		unpack(*(const uint2*)(x + (((image * blocks + block) * H + top + pixel / width) * W + left + pixel % width) * CHANNELS + RunSums::channel()), d);
		for (int i = 0; i < 4; i++) d[i] -= by[i];
		of.take(d, d);
	}
	runs[run * SUMS + RunSums::number()] = of.sum();
	BARRIER();
	const int at = group * blocks + block;
	if (threadIdx.x < SUMS) parts[(at * n + number) * SUMS + threadIdx.x] = sum_of_runs(runs + threadIdx.x, ceil_div(pixels, RUN_PIXELS), SUMS);
	const int of_cells = ceil_div(n, CELL_PARTS);
	GroupSums whole = {parts + at * n * SUMS, cells + at * of_cells * SUMS, counters + at * (of_cells + 1), n, 1, 1};
	if (!group_sums(whole, number, scratch)) return;
	const int c = block * CHANNELS + threadIdx.x;
	if (threadIdx.x >= CHANNELS || c >= C) return;
	if (mean)
		half_statistics(scratch[threadIdx.x], scratch[threadIdx.x + CHANNELS], shift[c], N * H * W, mean + group * C + c, variance + group * C + c, record + group * record_stride + c, C);
	else
		sums[group * sums_stride + c] = scratch[threadIdx.x], sums[group * sums_stride + C + c] = scratch[threadIdx.x + CHANNELS];
}

KERNEL(half_norm_affine, (const float* mean, const float* variance, const float* gamma, const float* beta, float2* affine, int n, int C, int stride, float epsilon)) {
	int i = thread_number(), padded = ceil_div(C, CHANNELS) * CHANNELS;
	if (i >= n) return;
	int c = i % padded, at = i / padded * stride + c;
	affine[i] = c < C ? half_affine(mean[at], variance[at], gamma[c], beta[c], epsilon) : make_float2(0.0f, 0.0f);
}

// An affine map serves `images` images in a row.
KERNEL(half_norm_forward, (const uint4* x, const float2* affine, const uint4* r, uint4* y, int n, int images, int blocks, int P)) {
	int i = thread_number();
	if (i >= n) return;
	int block = i / (2 * P) % blocks, group = i / (2 * P * blocks) / images;
	uint4 v = half_norm(x[i], affine + (group * blocks + block) * CHANNELS + i % 2 * 8);
	y[i] = r ? half_relu(half_add(v, r[i])) : v;
}
