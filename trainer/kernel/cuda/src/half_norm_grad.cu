// The ways back of batch normalisation of half precision by themselves: dy, x [M][C/16][P][16] bf16, P = H W pixels, G groups of N images.
//
//   half_norm_grad_sums  of each channel of a group dgamma = sum dy xhat and dbeta = sum dy, or of each image the sum over its channels of their squares, added to q; `repeat` images of dy belong to one of x
//   half_norm_data_grad  dx = fma(dy, scale, fma(x, slope, shift)), or dy scale where statistics are constants (half_grad_sources.h), rounded
//
// FLOPs: 3 or 4 a number. Bytes: 2 for each number that is read or written: 4 M C P and 6 M C P (or 4). A block of threads does a part (half.h) of a block of channels, or `vectors` times 8 numbers of one. Shared memory: 3 KiB.

#include "half_grad_sources.h"
#include "half_norm_grad.h"

KERNEL_BOUNDS(half_norm_grad_sums, PART_PIXELS, (const bf16* dy, const bf16* x, const float* mean, const float* variance, float* dgamma, float* dbeta, float* q, float* parts, float* cells, int* counters, int N, int C, int H, int W,
                                       int rows, int columns, int statistics_stride, int sums_stride, int repeat, float epsilon)) {
	SHARED(float, scratch, GROUP_SUMS_SCRATCH(1));
	SHARED(float, runs, PART_RUNS * SUMS);
	const int wide = ceil_div(W, columns), each = wide * ceil_div(H, rows), n = N * each, blocks = ceil_div(C, CHANNELS);
	const int number = blockIdx.x % n, block = blockIdx.x / n % blocks, group = blockIdx.x / n / blocks;
	const int image = group * N + number / each, top = number % each / wide * rows, left = number % each % wide * columns;
	const int width = min(columns, W - left), pixels = min(rows, H - top) * width, run = threadIdx.x / 32, channel = RunSums::channel();
	float by[4];
	for (int i = 0; i < 4; i++) by[i] = block * CHANNELS + channel + i < C ? mean[group * statistics_stride + block * CHANNELS + channel + i] : 0.0f;
	RunSums of;
	for (int pixel = run * RUN_PIXELS + RunSums::pixel(); pixel < min(pixels, (run + 1) * RUN_PIXELS); pixel += 8) {
		float g[4], d[4];
		int at = (top + pixel / width) * W + left + pixel % width;
		unpack(*(const uint2*)(dy + ((image * blocks + block) * H * W + at) * CHANNELS + channel), g);
		unpack(*(const uint2*)(x + ((image / repeat * blocks + block) * H * W + at) * CHANNELS + channel), d);
		for (int i = 0; i < 4; i++) d[i] -= by[i];
		of.take(g, d);
	}
	float sum = of.sum();
	runs[run * SUMS + RunSums::number()] = sum;
	BARRIER();
	NormParts to = {mean, variance, dgamma, dbeta, q, parts, cells, counters, statistics_stride, sums_stride, epsilon};
	put_part(to, runs, pixels, group, number, n, block, 1, blocks, PART_RUNS * SUMS);
	if (q)
		image_squares(to, image, each, n, N, blocks * each, C, scratch);
	else
		group_gradients(to, group, number, n, 1, block, blocks, block, 1, C, scratch);
}

KERNEL_BOUNDS(half_norm_data_grad, PART_PIXELS, (GRADIENT_PARAMETERS, uint4* dx, int N, int C, int P, int vectors, float epsilon)) {
	SHARED(float4, coefficients, COEFFICIENTS / 4);
	const int chunks = ceil_div(2 * P, vectors), blocks = ceil_div(C, CHANNELS), chunk = blockIdx.x % chunks, plane = blockIdx.x / chunks;
	const Gradient g = GRADIENT;
	put_gradient((float*)coefficients, g, plane / blocks / N, plane % blocks, 1, C, epsilon);
	BARRIER();
	for (int v = chunk * vectors + threadIdx.x; v < min(2 * P, (chunk + 1) * vectors); v += PART_PIXELS) {
		int at = plane * 2 * P + v;
		uint4 value = ((const uint4*)g.dy)[at];
		dx[at] = transformed(value, g.how == READ_NORM_GRAD ? ((const uint4*)g.xn)[at] : value, g.how, (const float*)coefficients + v % 2 * 8);
	}
}
