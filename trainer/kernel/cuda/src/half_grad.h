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

// Divides whole numbers from 0 to 65535 by one from 1 to 65535.
struct Divisor {
	unsigned inverse; // ceil(2^32/by); 0 where by is 1

	__device__ explicit Divisor(int by) : inverse(by == 1 ? 0u : 0xffffffffu / (unsigned)by + 1u) {}

	__device__ int quotient(int v) const { return inverse == 0 ? v : (int)__umulhi((unsigned)v, inverse); }
};

// What becomes of an activation as it is read: kernel.Alone, NormReLU, NormGrad and NormEvalGrad.
enum { READ_ALONE = 0, READ_NORM_RELU = 1, READ_NORM_GRAD = 3, READ_NORM_EVAL_GRAD = 4 };

struct Source {
	const bf16* values;
	const bf16* norm; // of READ_NORM_GRAD, what was normalised
	int how;
};

// Coefficients of a block of channels, [3][16].
enum { COEFFICIENTS = 3 * CHANNELS };

DEVICE void eight(const float* from, float (&to)[8]) {
	float4 a = ((const float4*)from)[0], b = ((const float4*)from)[1];
	to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

// transformed is eight channels as they are read; coefficients are those of the first of the eight.
DEVICE uint4 transformed(uint4 value, uint4 norm, int how, const float* coefficients) {
	float v[8], scale[8], second[8], third[8], x[8];
	unpack(value, v);
	eight(coefficients, scale);
	eight(coefficients + CHANNELS, second);
	if (how == READ_NORM_RELU) {
		for (int i = 0; i < 8; i++) v[i] = __fmaf_rn(v[i], scale[i], second[i]);
		return half_relu(pack(v));
	}
	if (how == READ_NORM_EVAL_GRAD) {
		for (int i = 0; i < 8; i++) v[i] *= scale[i];
		return pack(v);
	}
	eight(coefficients + 2 * CHANNELS, third);
	unpack(norm, x);
	for (int i = 0; i < 8; i++) v[i] = __fmaf_rn(v[i], scale[i], __fmaf_rn(x[i], second[i], third[i]));
	return pack(v);
}

// Which vectors of an activation make a tile: from `from` on, `planes` planes `apart` apart, each of `runs` runs of `length` vectors, `pitch` apart. Plane i has the coefficients [i * step].
struct Extent {
	int from, planes, apart, runs, pitch, length, step;
};

// load_tile brings them into the tile, one behind the other. They are there behind copy_async_wait<0>() and a barrier.
DEVICE void load_tile(uint4* tile, const Source& source, const Extent& e, const float* coefficients) {
	const uint4 *values = (const uint4*)source.values + e.from, *norm = (const uint4*)source.norm + e.from;
	int each = e.runs * e.length, n = e.planes * each, threads = blockDim.x;
	if (n <= 0) return;
	Divisor plane(each), run(e.length);
	if (source.how == READ_ALONE) {
		for (int v = threadIdx.x; v < n; v += threads) {
			int i = plane.quotient(v), rest = v - i * each, r = run.quotient(rest);
			copy_async(tile + tile_vector(v >> 1, v & 1), values + i * e.apart + r * (e.pitch - e.length) + rest);
		}
		copy_async_commit();
		return;
	}
	for (int begin = threadIdx.x; begin < n; begin += 4 * threads) {
		uint4 value[4], other[4];
		for (int j = 0; j < 4; j++) {
			int v = min(begin + j * threads, n - 1), i = plane.quotient(v), rest = v - i * each, r = run.quotient(rest), at = i * e.apart + r * (e.pitch - e.length) + rest;
			value[j] = values[at];
			if (source.how == READ_NORM_GRAD) other[j] = norm[at];
		}
		for (int j = 0; j < 4; j++) {
			int v = begin + j * threads;
			if (v < n) tile[tile_vector(v >> 1, v & 1)] = transformed(value[j], other[j], source.how, coefficients + plane.quotient(v) * e.step + (v & 1) * 8);
		}
	}
}

// extent_of is that of `rows` by `columns` pixels from (top, left) on of `planes` planes of H by W pixels, the first of which has so many pixels before it.
DEVICE Extent extent_of(int before, int planes, int apart, int top, int left, int rows, int columns, int W, int step) {
	int from = 2 * (before + top * W + left);
	if (columns == W) return {from, planes, 2 * apart, 1, 0, 2 * rows * W, step};
	return {from, planes, 2 * apart, rows, 2 * W, 2 * columns, step};
}
