// Squared norms of the gradients of a convolution's weights, of one image each, in half precision: q [M], added to; `repeat` images of dy in a row belong to one of x. No gradient is ever stored.
//
//   q_i += sum over k, c, (r, s) of (sum over the output pixels of image i of dy[k] x[c at the tap])^2
//
// FLOPs: 2 M K C R R Ho Wo, on tensor cores, half_weight_grad.h's units of 16 by 16 channels and up to 9 taps. Bytes: 2 M (K Ho Wo + C H W / share) at best.
//
// As a rule a block of 8 warps has all of an image's channels in shared memory, and does `share` of the gradients of one x: `split` warps share the pixels of a unit, and 8/split units are done at a time. Where an image is too large,
// a block does one unit of one gradient, tile by tile, and the last one of a gradient adds up the units' squares. Which it is is a function of the shape alone. A lane adds up the squares of its sums as a chain, over its units; then
// lanes by halves, then warps.
#include "half_weight_grad.h"

// Where a warp stands among those that share a unit.
struct Split {
	int split, turn, unit; // unit: which of the 8/split at a time

	__device__ explicit Split(int split) : split(split), turn(threadIdx.x / 32 % split), unit(threadIdx.x / 32 / split) {}
};

// join adds up a unit over the warps that share it, into the first of them: by halves, through [4][UNIT] of shared memory. The whole block calls it.
DEVICE void join(Unit& u, const Split& s, float* shared) {
	for (int half = s.split / 2; half > 0; half /= 2) {
		float* slot = shared + (s.unit * half + s.turn % half) * UNIT + threadIdx.x % 32;
		if (s.turn >= half && s.turn < 2 * half)
			for (int i = 0; i < UNIT / 32; i++) slot[32 * i] = u.sum[i / 8][i / 4 % 2][i % 4];
		BARRIER();
		if (s.turn < half)
			for (int i = 0; i < UNIT / 32; i++) u.sum[i / 8][i / 4 % 2][i % 4] += slot[32 * i];
		BARRIER();
	}
}

// add_squares adds a lane's squares to sum; what lies beyond the last channel is left out.
DEVICE float add_squares(const Unit& u, const Conv& c, int k_block, int c_block, float sum) {
	for (int i = 0; i < UNIT / 32; i++) {
		Weight at(32 * i + threadIdx.x % 32);
		float v = u.sum[i / 8][i / 4 % 2][i % 4];
		if (k_block * CHANNELS + at.k < c.K && c_block * CHANNELS + at.c < c.C) sum = __fmaf_rn(v, v, sum);
	}
	return sum;
}

// block_sum is the sum over the block's threads, lanes by halves and warps in a tree.
DEVICE float block_sum(float v, float* shared) {
	for (int half = 16; half > 0; half /= 2) v += __shfl_xor_sync(~0u, v, half);
	BARRIER();
	if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
	BARRIER();
	return tree_of_8({shared[0], shared[1], shared[2], shared[3], shared[4], shared[5], shared[6], shared[7]});
}

// How the work is cut (squaresPlanOf in half_squares.go), and where things lie in shared memory, in vectors of 16 bytes.
struct Squares {
	float *q, *squares; // squares [M][units], if a block does one
	int* counters;      // [M], likewise
	int whole, split, share, repeat, rows, columns, inputs, gradients, norm, sums;
};

// conv_squares is a block's `share` gradients of one x, or one unit of one.
DEVICE void conv_squares(const Conv& c, const Input& in, const Gradient& g, const Squares& to, float epsilon) {
	SHARED_DYNAMIC(uint4, shared);
	const int chunks = ceil_div(c.R * c.R, UNIT_TAPS), Cb = channel_blocks(c.C), Kb = channel_blocks(c.K), units = chunks * Cb * Kb, turns = ceil_div(to.repeat, to.share), blocks = to.whole ? 1 : units;
	const int block = blockIdx.x % blocks, image = blockIdx.x / blocks / turns, first = image * to.repeat + blockIdx.x / blocks % turns * to.share, end = min(first + to.share, (image + 1) * to.repeat), group = first / c.N;
	const int own_k = to.whole ? 0 : block / chunks / Cb, own_c = to.whole ? 0 : block / chunks % Cb, ks = to.whole ? Kb : 1, cs = to.whole ? Cb : 1;
	float *x_coefficients = (float*)(shared + 1), *coefficients = x_coefficients + cs * COEFFICIENTS, *sums = (float*)(shared + to.sums);
	if (threadIdx.x == 0) shared[0] = make_uint4(0, 0, 0, 0);
	put_gradient(coefficients, g, group, own_k, ks, c.K, epsilon);
	put_input(x_coefficients, in, group, own_c, cs, c.C, epsilon);
	const Source from = {g.dy, g.xn, g.how}, x_from = {in.x, in.x, in.how};
	const Split s(to.split);
	for (int m = first; m < end; m++) {
		float sum = nothing();
		Window w = window_of(c, 1, 0, 0, to.rows, to.columns);
		if (to.whole) {
			Extent dy = gradients_of(c, w, m, 0, Kb), x = inputs_of(c, w, image, 0, Cb);
			BARRIER();
			copy_tile(shared + to.gradients, shared + to.norm, from, dy);
			if (m == first) copy_tile(shared + to.inputs, shared, x_from, x);
			copy_async_wait<0>();
			transform_tile(shared + to.gradients, shared + to.norm, from, dy, coefficients);
			if (m == first) transform_tile(shared + to.inputs, shared, x_from, x, x_coefficients);
			BARRIER();
		}
		for (int base = 0; base < (to.whole ? units : 1); base += GRAD_WARPS / to.split) {
			const int unit = to.whole ? base + s.unit : block, k_block = unit / chunks / Cb, c_block = unit / chunks % Cb, tap = unit % chunks * UNIT_TAPS;
			Unit u;
			clear(u);
			for (int top = 0; top < c.Ho; top += to.rows) {
				for (int left = 0; left < c.Wo; left += to.columns) {
					if (!to.whole) {
						w = window_of(c, 1, top, left, to.rows, to.columns);
						Extent dy = gradients_of(c, w, m, k_block, 1), x = inputs_of(c, w, image, c_block, 1);
						BARRIER();
						copy_tile(shared + to.gradients, shared + to.norm, from, dy);
						copy_tile(shared + to.inputs, shared, x_from, x);
						copy_async_wait<0>();
						transform_tile(shared + to.gradients, shared + to.norm, from, dy, coefficients);
						transform_tile(shared + to.inputs, shared, x_from, x, x_coefficients);
						BARRIER();
					}
					int dy_at = to.gradients + (k_block - own_k) * plane_of(w.rows * w.columns), x_at = to.inputs + (c_block - own_c) * plane_of(w.x_rows * w.x_columns);
					if (unit < units) add_products(u, shared, dy_at, x_at, c, w, tap, s.turn, to.split);
				}
			}
			join(u, s, sums);
			if (s.turn == 0 && unit < units) sum = add_squares(u, c, k_block, c_block, sum);
		}
		float square = block_sum(sum, sums);
		if (to.whole) {
			if (threadIdx.x == 0) to.q[m] += square;
			continue;
		}
		if (threadIdx.x == 0) to.squares[m * units + block] = square;
		if (!is_last(to.counters + m, units, (int*)(sums + GRAD_WARPS))) continue;
		sum = nothing();
		for (int i = threadIdx.x; i < units; i += GRAD_THREADS) sum += to.squares[m * units + i];
		square = block_sum(sum, sums);
		if (threadIdx.x == 0) to.q[m] += square;
	}
}

KERNEL_RESIDENT(half_conv_squares, GRAD_THREADS, 2, (INPUT_PARAMETERS, GRADIENT_PARAMETERS, float* q, float* squares, int* counters, int whole, int split, int share, int repeat, int tile_rows, int tile_columns, int inputs_at,
                                                     int gradients_at, int norm_at, int sums_at, CONV_PARAMETERS, float epsilon)) {
	conv_squares(CONV, INPUT, GRADIENT, {q, squares, counters, whole, split, share, repeat, tile_rows, tile_columns, inputs_at, gradients_at, norm_at, sums_at}, epsilon);
}
