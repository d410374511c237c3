// Forward convolutions of half precision, with what stands before and behind them.
//
//   x [M][C/16][H][W][16], w [R R][K][C] packed -> y [M][K/16][Ho][Wo][16] (bf16); zero padding R/2, Ho = (H-1)/stride + 1.
//   half_conv_forward_MTxNT   y = sum over (r, s, c) of v w, rounded; v is x, or relu(norm(x)), or z = relu(norm(x) + r), which is written too; and of y its statistics or sums over each group
//
// FLOPs: 2 M K C R R Ho Wo, on tensor cores, MT times 16 pixels by NT times 16 channels a warp. Bytes: 2 (M C H W + M K Ho Wo) and the weights at best, and 4 M C H W more for r and z; what lies round a part is read from the
// second-level cache once more, and the input as often as there are slices.
//
// A block of 256 threads does `share` parts of a group (half.h), one after the other, and a slice of `slice` blocks of output channels, whose weights it keeps: tile, products, y through shared memory, 8 bytes a thread; the next part's tile is on its
// way meanwhile. How the work is cut is cutForward's (half_forward.go). The 3x3 convolutions of ResNet-56, on the 132 multiprocessors of an H200 (TestForwardConvolutionsFillTheGPU logs it): blocks, share, slice, MTxNT, bytes of shared memory
//
//   input        output       batch 64                       batch 1024
//   32x32x3      32x32x16     256, 1, 1, 2x1,  36736         1024, 4, 1, 2x1,  36736
//   32x32x16     32x32x16     256, 1, 1, 2x1,  36736         1024, 4, 1, 2x1,  36736
//   32x32x16     16x16x32     128, 1, 1, 2x1,  72688          256, 4, 2, 2x2,  88880
//   16x16x32     16x16x32     128, 1, 1, 2x1,  51072          256, 4, 2, 2x2,  71872
//   16x16x32     8x8x64       128, 1, 2, 1x1,  53712          256, 4, 4, 2x1,  83024
//   8x8x64       8x8x64       128, 1, 2, 1x1,  63680          256, 4, 4, 2x1, 111424
//
// Shared memory without conflicts of banks: load_matrices where the stride is 1 (pixels are an odd number of 16 bytes apart, two ways where it is 2), y's pairs on their way in (the same); y on its way out is read with two ways' conflicts.
// Registers by ptxas for sm_90a: 79, 80, 128 and 115, none spilled.
#include "half_forward.h"

// What becomes of y beside being written.
enum { FORWARD_STATS = 1, FORWARD_SUMS = 2 };

struct ForwardResult {
	bf16* y;
	const float* shift;
	float *mean, *variance, *record, *sums;
	int after, record_stride, sums_stride;
};

// The statistics and coefficients of the input's norm.
struct ForwardNorm {
	const float *mean, *variance, *gamma, *beta;
	int stride;
	float epsilon;

	// affine is that of a channel, and zeros beyond the last.
	__device__ float2 affine(int group, int c, int C) const {
		if (c >= C) return make_float2(0.0f, 0.0f);
		return half_affine(mean[group * stride + c], variance[group * stride + c], gamma[c], beta[c], epsilon);
	}
};

// What a lane has of a run of y: it goes from shared memory to where it belongs, and into the sums of y - shift.
struct ForwardRun {
	float shift[4];
	RunSums sums;

	__device__ void pixel(const char* from, bf16* to) {
		uint2 v = *(const uint2*)from;
		float d[4];
		*(uint2*)to = v;
		unpack(v, d);
		for (int i = 0; i < 4; i++) d[i] -= shift[i];
		sums.take(d, d);
	}
};

// The end of a part: y goes out of shared memory, and the sums of its runs [blocks][PART_RUNS][SUMS] come about on the way.
DEVICE void forward_part_out(const ForwardShape& s, const ForwardPart& part, const ForwardResult& out, int first_block, int blocks, const char* result, const float* shift, float* runs) {
	const int warp = threadIdx.x / 32, pixels = part.pixels(), count = ceil_div(pixels, RUN_PIXELS), pitch = blocks * 32 + 16, plane = s.Ho * s.Wo;
	bf16* image = out.y + ((part.image * s.out_blocks() + first_block) * plane + part.y * s.Wo + part.x) * CHANNELS + RunSums::channel();
	NOT_UNROLLED for (int block = 0, run = warp;; run += FORWARD_THREADS / 32) {
		for (; run >= count; run -= count) block++;
		if (block >= blocks) break;
		const int first = run * RUN_PIXELS + RunSums::pixel();
		const char* from = result + first * pitch + block * 32 + RunSums::channel() * 2;
		bf16* to = image + block * plane * CHANNELS;
		const float4 by = *(const float4*)(shift + block * CHANNELS + RunSums::channel());
		ForwardRun lane = {{by.x, by.y, by.z, by.w}, {}};
		if (part.width == s.Wo && (run + 1) * RUN_PIXELS <= pixels) {
			to += first * CHANNELS;
			for (int j = 0; j < 4; j++) lane.pixel(from + j * 8 * pitch, to + j * 8 * CHANNELS);
		} else {
			const Divisor by_width = part.by_width(s);
			NOT_UNROLLED for (int pixel = first; pixel < min(pixels, (run + 1) * RUN_PIXELS); pixel += 8, from += 8 * pitch) lane.pixel(from, to + (pixel + by_width.quotient(pixel) * (s.Wo - part.width)) * CHANNELS);
		}
		if (out.after) {
			float v = lane.sums.sum();
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

// PASSES says that a tile for all taps and channels is too much: see half_forward.h. A block of threads is a slice of the parts from first_part on of a group of n parts.
template <int MT, int NT, bool PASSES>
DEVICE void half_conv_forward(const ForwardShape& s, const ForwardInput& in, const ForwardResult& out, const ForwardNorm& norm, const bf16* w, float* parts, float* cells, int* counters, int share, int N, int group, int first_part, int memory_tile, int memory_weights) {
	SHARED_DYNAMIC(char, memory);
	const int first_block = in.own * s.slice, blocks = min(s.slice, s.out_blocks() - first_block), n = N * s.by_each.by, end = min(first_part + share, n);
	char *tile = memory, *weights = tile + memory_tile, *result = weights + memory_weights;
	float* runs = (float*)(result + s.high * MT * 16 * (s.slice * 32 + 16));
	float* shift = runs + s.slice * PART_RUNS * SUMS;
	float2* affine = (float2*)(shift + s.slice * CHANNELS);
	const int spans = PASSES ? ceil_div(s.R, s.span) : 1, chunks = PASSES ? ceil_div(s.in_blocks(), s.chunk) : 1;
	ForwardPass pass = {0, 0, 0, s.chunk, s.by_lanes, s.by_vectors};

	// What serves all parts is made while the first copies are under way.
	auto prepare = [&] {
		NOT_UNROLLED for (int c = threadIdx.x; in.before && c < s.in_blocks() * CHANNELS; c += FORWARD_THREADS) affine[c] = norm.affine(group, c, s.C);
		NOT_UNROLLED for (int i = threadIdx.x; i < blocks * CHANNELS; i += FORWARD_THREADS) shift[i] = out.after && first_block * CHANNELS + i < s.K ? out.shift[first_block * CHANNELS + i] : 0.0f;
		if (in.before) BARRIER();
	};

	ForwardTile<MT == 1 ? 4 : 3> input;
	if (!PASSES) {
		input.copy(s, in, ForwardPart(s, group, N, first_part), pass, tile);
		copy_async_commit();
		if (in.before == FORWARD_NORM_ADD) input.add(in);
		forward_weights(s, pass, w, first_block, weights);
		copy_async_commit();
		prepare();
	}
	for (int number = first_part; number < end; number++) {
		const ForwardPart part(s, group, N, number);
		ForwardWarp<MT, NT> mine;
		for (int turn = 0; turn < chunks * spans * spans; turn++) {
			if (PASSES) {
				int tap = turn % (spans * spans), from = turn / (spans * spans) * s.chunk, count = min(s.chunk, s.in_blocks() - from);
				pass = {tap / spans, tap % spans, from, count, Divisor(FORWARD_THREADS / 2 / count), Divisor(2 * count)};
				if (turn > 0) BARRIER();  // the products of the turn before have been made
				input.copy(s, in, part, pass, tile);
				copy_async_commit();
				if (in.before == FORWARD_NORM_ADD) input.add(in);
				forward_weights(s, pass, w, first_block, weights);
				copy_async_commit();
				if (number == first_part && turn == 0) prepare();
			}
			if (in.before) {
				if (PASSES || number == first_part) {
					copy_async_wait<1>();  // for the tile, but not for the weights
				} else {
					if (in.before == FORWARD_NORM_ADD) input.add(in);
					copy_async_wait<0>();
				}
				input.transform(s, in, part, pass, affine, tile);
			}
			copy_async_wait<0>();
			BARRIER();
			if (turn == 0) mine.begin(s, part, blocks);
			if (mine.first_block < blocks) mine.template multiply_all<PASSES>(s, pass.count, tile, weights);
		}
		if (mine.first_block < blocks) mine.leave(blocks, result);
		BARRIER();
		if (!PASSES && number + 1 < end) {
			input.copy(s, in, ForwardPart(s, group, N, number + 1), pass, tile);
			copy_async_commit();
		}
		forward_part_out(s, part, out, first_block, blocks, result, shift, runs);
		if (!out.after) continue;
		BARRIER();
		NOT_UNROLLED for (int i = threadIdx.x; i < blocks * SUMS; i += FORWARD_THREADS)
			parts[((group * s.out_blocks() + first_block + i / SUMS) * n + number) * SUMS + i % SUMS] = sum_of_runs(runs + i / SUMS * PART_RUNS * SUMS + i % SUMS, ceil_div(part.pixels(), RUN_PIXELS), SUMS);
	}
	if (!out.after) return;
	const int cells_of = ceil_div(n, CELL_PARTS), at = group * s.out_blocks() + first_block;
	GroupSums all = {parts + at * n * SUMS, cells + at * cells_of * SUMS, counters + (group * in.owners + in.own) * (cells_of + 1), n, share, blocks};
	if (group_sums(all, first_part, (float*)memory)) forward_group_out(s, out, group, N * s.Ho * s.Wo, first_block, blocks, (const float*)memory);
}

// What the kernels take and do, for each share of a warp. Numbers that end in _m are the magic of a Divisor.
#define FORWARD_PARAMETERS                                                                                                                                                                                                  \
	(const bf16* x, const float* mean, const float* variance, const float* gamma, const float* beta, const bf16* r, const bf16* w, const float* shift, bf16* z, bf16* y, float* out_mean, float* out_variance, float* record, \
	 float* sums, float* parts, float* cells, int* counters, int N, int C, int H, int W, int K, int R, int stride, int Ho, int Wo, int rows, int columns, int span, int step, int chunk, int slice, int share, int high, \
	 int wide, int each, int slices, int shares, int columns_m, int tile_columns, int tile_columns_m, int wide_m, int each_m, int slices_m, int shares_m, int lanes, int lanes_m, int vectors_m, int weights_m, int high_m,  \
	 int memory_tile, int memory_weights, int before, int after, int norm_stride, int record_stride, int sums_stride, float epsilon)

#define FORWARD(MT, NT, PASSES)                                                                                                                                                                                            \
	Divisor by_slices(slices, slices_m), by_shares(shares, shares_m);                                                                                                                                                     \
	int row = by_slices.quotient(blockIdx.x), slice_at = blockIdx.x - row * slices, group = by_shares.quotient(row), part = (row - group * shares) * share; \
	ForwardShape s = {C,                      H,                                      W,                     K,                 R,                             stride,                         Ho,                   Wo,    \
	                  rows,                   columns,                                span,                  step,              chunk,                         slice,                          high,                        \
	                  Divisor(each, each_m),  Divisor(wide, wide_m),                  Divisor(columns, columns_m), Divisor(tile_columns, tile_columns_m), Divisor(lanes, lanes_m), Divisor(2 * chunk, vectors_m),            \
	                  Divisor(slice * CHANNELS, weights_m), Divisor(high, high_m)};                                                                                                                                        \
	ForwardInput in = {x, r, z, before, slice_at, slices};                                                                                                                                                                 \
	ForwardResult out = {y, shift, out_mean, out_variance, record, sums, after, record_stride, sums_stride};                                                                                                               \
	ForwardNorm norm = {mean, variance, gamma, beta, norm_stride, epsilon};                                                                                                                                                \
	half_conv_forward<MT, NT, PASSES>(s, in, out, norm, w, parts, cells, counters, share, N, group, part, memory_tile, memory_weights)

KERNEL_RESIDENT(half_conv_forward_1x1, FORWARD_THREADS, 3, FORWARD_PARAMETERS) { FORWARD(1, 1, false); }

KERNEL_RESIDENT(half_conv_forward_2x1, FORWARD_THREADS, 3, FORWARD_PARAMETERS) { FORWARD(2, 1, false); }

KERNEL_RESIDENT(half_conv_forward_2x2, FORWARD_THREADS, 2, FORWARD_PARAMETERS) { FORWARD(2, 2, false); }

KERNEL_RESIDENT(half_conv_forward_passes, FORWARD_THREADS, 2, FORWARD_PARAMETERS) { FORWARD(2, 1, true); }
