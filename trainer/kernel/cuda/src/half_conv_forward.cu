// Forward convolutions of half precision, with what stands before and behind them.
//
//   x [M][C/16][H][W][16], w [R R][K][C] packed -> y [M][K/16][Ho][Wo][16] (bf16); zero padding R/2, Ho = (H-1)/stride + 1.
//   half_conv_forward_MTxNT   y = sum over (r, s, c) of v w, rounded; v is x, or relu(norm(x)), or z = relu(norm(x) + r), which is written too; and of y its statistics or sums over each group
//
// FLOPs: 2 M K C R R Ho Wo, on tensor cores, MT times 16 pixels by NT times 16 channels a warp. Bytes: 2 (M C H W + M K Ho Wo) and the weights at best, and 4 M C H W more for r and z; what lies round a part is read from the
// second-level cache once more, and the input as often as there are slices.
//
// A block of 256 threads does `share` parts of a group (half.h), one after the other, and a slice of `slice` blocks of output channels, whose weights it keeps: tile, products, y through shared memory, 8 bytes a thread. How the work is cut is cutForward's
// (half_forward.go); ResNet-56 on an H200, 3x3:
//
//   input            output       batch 64: blocks, share, slice   batch 1024            shared memory
//@TABLE@
#include "half_forward.h"

// What becomes of y beside being written.
enum { FORWARD_STATS = 1, FORWARD_SUMS = 2 };

struct ForwardResult {
	bf16* y;
	const float* shift;
	float *mean, *variance, *record, *sums;
	int after, record_stride, sums_stride;
};

// The end of a part: y goes out of shared memory, and the sums of its runs [blocks][PART_RUNS][SUMS] come about on the way.
DEVICE void forward_part_out(const ForwardShape& s, const ForwardPart& part, const ForwardResult& out, int first_block, int blocks, const char* result, const float* shift, float* runs) {
	const int warp = threadIdx.x / 32, count = ceil_div(part.pixels(), RUN_PIXELS), pitch = blocks * 32 + 16;
	for (int unit = warp; unit < count * blocks; unit += FORWARD_THREADS / 32) {
		int block = unit / count, run = unit % count;
		bf16* to = out.y + ((part.image * s.out_blocks() + first_block + block) * s.Ho * s.Wo) * CHANNELS + RunSums::channel();
		const float* by = shift + block * CHANNELS + RunSums::channel();
		RunSums sums;
		for (int j = 0; j < 4; j++) {
			int pixel = run * RUN_PIXELS + j * 8 + RunSums::pixel();
			if (pixel >= part.pixels()) break;
			uint2 v = *(const uint2*)(result + pixel * pitch + block * 32 + RunSums::channel() * 2);
			int at = part.width == s.Wo ? part.y * s.Wo + pixel : (part.y + pixel / part.width) * s.Wo + part.x + pixel % part.width;
			*(uint2*)(to + at * CHANNELS) = v;
			if (out.after) {
				float d[4];
				unpack(v, d);
				for (int i = 0; i < 4; i++) d[i] -= by[i];
				sums.take(d, d);
			}
		}
		if (out.after) {
			float v = sums.sum();
			runs[(block * PART_RUNS + run) * SUMS + RunSums::number()] = v;
		}
	}
}

// The end of a group: its statistics, or its sums, from sums [blocks][SUMS].
DEVICE void forward_group_out(const ForwardShape& s, const ForwardResult& out, int group, int count, int first_block, int blocks, const float* sums) {
	int i = threadIdx.x, c = first_block * CHANNELS + i;
	if (i >= blocks * CHANNELS || c >= s.K) return;
	const float* of = sums + i / CHANNELS * SUMS + i % CHANNELS;
	if (out.after == FORWARD_STATS)
		half_statistics(of[0], of[CHANNELS], out.shift[c], count, out.mean + group * s.K + c, out.variance + group * s.K + c, out.record + group * out.record_stride + c, s.K);
	else
		out.sums[group * out.sums_stride + c] = of[0], out.sums[group * out.sums_stride + s.K + c] = of[CHANNELS];
}

template <int MT, int NT>
DEVICE void half_conv_forward(const ForwardShape& s, const ForwardInput& given, const ForwardResult& out, const bf16* w, const float* mean, const float* variance, const float* gamma, const float* beta, float epsilon, int norm_stride, float* parts,
                              float* cells, int* counters, int N, int share, int memory_tile, int memory_weights) {
	SHARED_DYNAMIC(char, memory);
	const int each = ceil_div(s.Ho, s.rows) * ceil_div(s.Wo, s.columns), n = N * each, slices = ceil_div(s.out_blocks(), s.slice), shares = ceil_div(n, share);
	const int slice = blockIdx.x % slices, group = blockIdx.x / slices / shares, first_part = blockIdx.x / slices % shares * share;
	const int first_block = slice * s.slice, blocks = min(s.slice, s.out_blocks() - first_block);
	char *tile = memory, *weights = tile + memory_tile, *result = weights + memory_weights;
	float* runs = (float*)(result + s.part_rows() * (s.slice * 32 + 16));
	float* shift = runs + s.slice * PART_RUNS * SUMS;
	float2* affine = (float2*)(shift + s.slice * CHANNELS);
	ForwardInput in = given;
	in.own = slice, in.owners = slices;

	const int passes = ceil_div(s.R, s.span) * ceil_div(s.R, s.span), chunks = ceil_div(s.in_blocks(), s.chunk);
	bool first = true;
	for (int number = first_part; number < min(first_part + share, n); number++) {
		ForwardPart part(s, group, N, number);
		const int high = ceil_div(ceil_div(part.pixels(), 16), MT), warp = threadIdx.x / 32;
		const int first_pixel = warp % high * MT * 16, first_n = warp / high * NT;
		ForwardWarp<MT, NT> mine;
		mine.stand(s, part, first_pixel, first_n, blocks, tile, weights);
		for (int pass = 0; pass < chunks * passes; pass++) {
			const int tap = pass % passes, first_in = pass / passes * s.chunk, count = min(s.chunk, s.in_blocks() - first_in);
			if (pass > 0) BARRIER();  // the products of the pass before have been made
			if (first || chunks * passes > 1) forward_weights(s, w, first_block, blocks, tap, first_in, count, weights);
			forward_tile(s, in, part, tap / s.R, tap % s.R, first_in, count, affine, tile, [&] {
				if (!first) return;
				for (int c = threadIdx.x; in.before && c < s.in_blocks() * CHANNELS; c += FORWARD_THREADS)
					affine[c] = c < s.C ? half_affine(mean[group * norm_stride + c], variance[group * norm_stride + c], gamma[c], beta[c], epsilon) : make_float2(0.0f, 0.0f);
				for (int i = threadIdx.x; out.after && i < blocks * CHANNELS; i += FORWARD_THREADS) shift[i] = first_block * CHANNELS + i < s.K ? out.shift[first_block * CHANNELS + i] : 0.0f;
				if (in.before) BARRIER();
			});
			first = false;
			copy_async_commit();
			copy_async_wait<0>();
			BARRIER();
			if (first_n < blocks) mine.multiply_all(s, count, blocks);
		}
		if (first_n < blocks) mine.leave(part, first_pixel, first_n, blocks, result);
		BARRIER();
		forward_part_out(s, part, out, first_block, blocks, result, shift, runs);
		if (!out.after) continue;
		BARRIER();
		for (int i = threadIdx.x; i < blocks * SUMS; i += FORWARD_THREADS)
			parts[((group * s.out_blocks() + first_block + i / SUMS) * n + number) * SUMS + i % SUMS] = sum_of_runs(runs + i / SUMS * PART_RUNS * SUMS + i % SUMS, ceil_div(part.pixels(), RUN_PIXELS), SUMS);
	}
	if (!out.after) return;
	const int cells_of = ceil_div(n, CELL_PARTS), at = group * s.out_blocks() + first_block;
	GroupSums sums = {parts + at * n * SUMS, cells + at * cells_of * SUMS, counters + (group * slices + slice) * (cells_of + 1), n, share, blocks};
	if (group_sums(sums, first_part, (float*)memory)) forward_group_out(s, out, group, N * s.Ho * s.Wo, first_block, blocks, (const float*)memory);
}

// What the kernels take and do, for each share of a warp.
#define FORWARD_PARAMETERS                                                                                                                                                                                                   \
	(const bf16* x, const float* mean, const float* variance, const float* gamma, const float* beta, const bf16* r, const bf16* w, const float* shift, bf16* z, bf16* y, float* out_mean, float* out_variance, float* record,    \
	 float* sums, float* parts, float* cells, int* counters, int N, int C, int H, int W, int K, int R, int stride, int Ho, int Wo, int rows, int columns, int span, int step, int chunk, int slice, int share, int memory_tile, \
	 int memory_weights, int before, int after, int norm_stride, int record_stride, int sums_stride, float epsilon)

#define FORWARD(MT, NT)                                                                                                                                                                                              \
	ForwardShape s = {C, H, W, K, R, stride, Ho, Wo, rows, columns, span, step, chunk, slice};                                                                                                                       \
	ForwardInput in = {x, r, z, before, 0, 1};                                                                                                                                                                       \
	ForwardResult out = {y, shift, out_mean, out_variance, record, sums, after, record_stride, sums_stride};                                                                                                         \
	half_conv_forward<MT, NT>(s, in, out, w, mean, variance, gamma, beta, epsilon, norm_stride, parts, cells, counters, N, share, memory_tile, memory_weights)

KERNEL_BOUNDS(half_conv_forward_1x1, FORWARD_THREADS, FORWARD_PARAMETERS) { FORWARD(1, 1); }

KERNEL_BOUNDS(half_conv_forward_2x1, FORWARD_THREADS, FORWARD_PARAMETERS) { FORWARD(2, 1); }

KERNEL_BOUNDS(half_conv_forward_2x2, FORWARD_THREADS, FORWARD_PARAMETERS) { FORWARD(2, 2); }
