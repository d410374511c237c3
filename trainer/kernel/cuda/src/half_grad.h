// What the ways back of convolutions in half precision share: how an activation gets into shared memory, transformed as it is read, and how its pixels are found there.
//
// A tile is pixels of 16 channels, two vectors of 16 bytes each: channels 0..7 and 8..15. Every other four pixels have them the other way round, so that the 8 rows of a matrix that load_matrices takes, one half of
// 8 pixels side by side, lie in 8 different groups of banks.
#pragma once

#include "half.h"

// The shapes of a convolution and of its gradients.
struct Conv {
	int N, C, H, W, K, R, stride, Ho, Wo;
};

DEVICE int channel_blocks(int channels) { return ceil_div(channels, CHANNELS); }

// rounded_up is vectors up to whole rows of all banks.
DEVICE int rounded_up(int vectors) { return ceil_div(vectors, 8) * 8; }

DEVICE int tile_vector(int pixel, int half) { return 2 * pixel + (half ^ (pixel >> 2 & 1)); }

// plane_of is the vectors from a block of channels of a tile of so many pixels to the next: so many that each begins like the first.
DEVICE int plane_of(int pixels) { return ceil_div(2 * pixels, 16) * 16; }

// What becomes of an activation as it is read: kernel.Alone, NormReLU, NormGrad and NormEvalGrad.
enum { READ_ALONE = 0, READ_NORM_RELU = 1, READ_NORM_GRAD = 3, READ_NORM_EVAL_GRAD = 4 };

struct Source {
	const bf16* values;
	const bf16* norm; // of READ_NORM_GRAD, what was normalised
	int how;
};

// Coefficients of a block of channels, [3][16].
enum { COEFFICIENTS = 3 * CHANNELS };

// transformed is four channels as they are read, then eight; coefficients are those of the first of them.
DEVICE uint2 transformed(uint2 value, uint2 norm, int how, const float* coefficients) {
	float v[4], x[4];
	unpack(value, v);
	float4 scale = *(const float4*)coefficients;
	if (how == READ_NORM_EVAL_GRAD) {
		v[0] *= scale.x, v[1] *= scale.y, v[2] *= scale.z, v[3] *= scale.w;
		return pack(v);
	}
	float4 second = *(const float4*)(coefficients + CHANNELS);
	if (how == READ_NORM_GRAD) {
		float4 third = *(const float4*)(coefficients + 2 * CHANNELS);
		unpack(norm, x);
		second = make_float4(__fmaf_rn(x[0], second.x, third.x), __fmaf_rn(x[1], second.y, third.y), __fmaf_rn(x[2], second.z, third.z), __fmaf_rn(x[3], second.w, third.w));
	}
	v[0] = __fmaf_rn(v[0], scale.x, second.x), v[1] = __fmaf_rn(v[1], scale.y, second.y), v[2] = __fmaf_rn(v[2], scale.z, second.z), v[3] = __fmaf_rn(v[3], scale.w, second.w);
	uint2 u = pack(v);
	return how == READ_NORM_RELU ? make_uint2(half_relu(u.x), half_relu(u.y)) : u;
}

DEVICE uint4 transformed(uint4 value, uint4 norm, int how, const float* coefficients) {
	uint2 low = transformed(make_uint2(value.x, value.y), make_uint2(norm.x, norm.y), how, coefficients);
	uint2 high = transformed(make_uint2(value.z, value.w), make_uint2(norm.z, norm.w), how, coefficients + 4);
	return make_uint4(low.x, low.y, high.x, high.y);
}

// Which vectors of an activation make a tile: from `from` on, `planes` planes `apart` apart, each of `runs` runs of `length` vectors, `pitch` apart. Plane i has the coefficients [i * step]
// and lies `lie` vectors behind the one before in the tile.
struct Extent {
	int from, planes, apart, runs, pitch, length, step, lie;
};

// each_vector calls f(at, to, of) for the vectors of an extent that are this thread's: where each is in the activation, where it goes in the tile, and where its coefficients begin.
template <typename F>
DEVICE void each_vector(const Extent& e, F f) {
	int each = e.runs * e.length, n = e.planes * each, threads = blockDim.x;
	Divisor plane(max(each, 1)), run(max(e.length, 1));
	NOT_UNROLLED for (int v = threadIdx.x; v < n; v += threads) {
		int i = plane.quotient(v), rest = v - i * each, r = run.quotient(rest);
		f(e.from + i * e.apart + r * (e.pitch - e.length) + rest, tile_vector((v + i * (e.lie - each)) >> 1, v & 1), i * e.step + (v & 1) * 8);
	}
}

// copy_tile begins to copy an extent into a tile, and what was normalised into another one, as one group: past the registers, so that all of it is under way at once.
DEVICE void copy_tile(uint4* tile, uint4* norm, const Source& source, const Extent& e) {
	each_vector(e, [&](int at, int to, int) {
		copy_async(tile + to, (const uint4*)source.values + at);
		if (source.how == READ_NORM_GRAD) copy_async(norm + to, (const uint4*)source.norm + at);
	});
	copy_async_commit();
}

// transform_tile makes of it what is read. Each thread does what it copied itself, when that is there; others see it behind a barrier.
DEVICE void transform_tile(uint4* tile, const uint4* norm, const Source& source, const Extent& e, const float* coefficients) {
	if (source.how == READ_ALONE) return;
	each_vector(e, [&](int, int to, int of) { tile[to] = transformed(tile[to], source.how == READ_NORM_GRAD ? norm[to] : tile[to], source.how, coefficients + of); });
}

// extent_of is that of `rows` by `columns` pixels from (top, left) on of `planes` planes of H by W pixels, the first of which has so many pixels before it. They lie one behind the other.
DEVICE Extent extent_of(int before, int planes, int apart, int top, int left, int rows, int columns, int W, int step) {
	int from = 2 * (before + top * W + left), each = 2 * rows * columns;
	if (columns == W) return {from, planes, 2 * apart, 1, 0, each, step, each};
	return {from, planes, 2 * apart, rows, 2 * W, 2 * columns, step, each};
}
