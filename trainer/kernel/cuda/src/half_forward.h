// How a block of threads does a forward convolution of half precision (half_conv_forward.cu): the tile of its input that it keeps in shared memory, its weights, the products.
//
//   tile     [pixels][16 chunk + 8] bf16: the input's pixels that a part's outputs meet, row by row, with zeros where the image ends, of `chunk` blocks of channels. 16 bytes behind each pixel make
//            the 8 rows that load_matrices reads at a time, neighbouring pixels, lie in different banks
//   weights  [taps][16 blocks][16 chunk + 8] bf16, likewise
//
// A tap is a place (r, s) of the window. As a rule a tile serves all taps (span = R): an output's pixel for a tap is its first one and r rows and s pixels on; outputs are `step` = stride pixels apart. Where that would be too much, a tile is made
// for each tap (span = 1), of the pixels which that one meets (step = 1); likewise for each chunk of channels, where all do not fit. The order of a sum is: chunks, taps, blocks of channels of the chunk: a function of the shape of the convolution alone.
#pragma once

#include "half.h"

enum { FORWARD_THREADS = 256, FORWARD_BATCH = 4 };

// What is done to the input.
enum { FORWARD_ALONE = 0, FORWARD_NORM = 1, FORWARD_NORM_ADD = 2 };

struct ForwardShape {
	int C, H, W, K, R, stride, Ho, Wo;
	int rows, columns;      // of a part of the output, but for the last ones
	int span, step, chunk;  // see above
	int slice;              // blocks of output channels that a block of threads does

	__device__ int in_blocks() const { return ceil_div(C, CHANNELS); }
	__device__ int out_blocks() const { return ceil_div(K, CHANNELS); }
	__device__ int tile_columns() const { return (columns - 1) * step + span; }
	__device__ int tile_rows() const { return (rows - 1) * step + span; }
	__device__ int part_rows() const { return ceil_div(rows * columns, 16) * 16; }  // of the result in shared memory
	__device__ int pitch() const { return chunk * 32 + 16; }  // bytes of a pixel of the tile, or of an output channel of the weights
};

// A part of the output of an image: height by width pixels from (y, x) on.
struct ForwardPart {
	int image, y, x, height, width;

	__device__ ForwardPart(const ForwardShape& s, int group, int N, int part) {
		int wide = ceil_div(s.Wo, s.columns), each = wide * ceil_div(s.Ho, s.rows), of = part % each;
		image = group * N + part / each;
		y = of / wide * s.rows, x = of % wide * s.columns;
		height = min(s.rows, s.Ho - y), width = min(s.columns, s.Wo - x);
	}

	__device__ int pixels() const { return height * width; }
};

// What the tile is made of.
struct ForwardInput {
	const bf16* x;
	const bf16* r;  // of FORWARD_NORM_ADD
	bf16* z;        // the same: what became of x is written there, each number by one block of threads
	int before;
	int own, owners;  // blocks of channels of z that are this block's: those with number % owners = own
};

// forward_weights begins to copy a slice's weights [taps][16 blocks][16 count] of a chunk; w [R R][Kp][Cp].
DEVICE void forward_weights(const ForwardShape& s, const bf16* w, int first_out, int blocks, int tap, int first_in, int count, char* weights) {
	int vectors = 2 * count, lanes = FORWARD_THREADS / vectors, lane = threadIdx.x / vectors, v = threadIdx.x % vectors;
	if (lane >= lanes) return;
	int rows = blocks * CHANNELS, Kp = s.out_blocks() * CHANNELS, Cp = s.in_blocks() * CHANNELS, all = s.span * s.span * rows;
	int jump = lanes / rows, rest = lanes % rows, of = lane / rows, n = lane % rows;
	const bf16* from = w + (tap * Kp + first_out * CHANNELS) * Cp + first_in * CHANNELS + v * 8;
	for (int row = lane; row < all; row += lanes) {
		copy_async(weights + row * s.pitch() + v * 16, from + (of * Kp + n) * Cp);
		of += jump, n += rest;
		if (n >= rows) of++, n -= rows;
	}
}

// The pixels of a tile that a thread brings in, one after the other, `lanes` apart: 8 channels of one block of them.
struct ForwardPixels {
	int i, j, down, right, columns;

	__device__ ForwardPixels(int first, int lanes, int columns) : i(first / columns), j(first % columns), down(lanes / columns), right(lanes % columns), columns(columns) {}

	__device__ void next() {
		i += down, j += right;
		if (j >= columns) i++, j -= columns;
	}
};

// forward_tile makes the tile of a part, for the taps from (r, s) on and `count` blocks of channels from `first` on. prepare() is called by every thread once, after its first loads have begun; affine [16 blocks of channels] is there behind it.
template <typename F>
DEVICE void forward_tile(const ForwardShape& s, const ForwardInput& in, const ForwardPart& part, int tap_row, int tap_column, int first, int count, const float2* affine, char* tile, F prepare) {
	const int lanes = FORWARD_THREADS / 2 / count, lane = threadIdx.x / 2 % lanes, half = threadIdx.x % 2, block = min((int)threadIdx.x / 2 / lanes, count);
	const int columns = s.tile_columns(), hop = s.stride / s.step, pixels = block < count ? ((part.height - 1) * s.step + s.span) * columns : 0;
	const int top = part.y * s.stride + tap_row - s.R / 2, left = part.x * s.stride + tap_column - s.R / 2;
	const int plane = ((part.image * s.in_blocks() + first + block) * s.H) * s.W;
	const bool owner = in.before == FORWARD_NORM_ADD && (first + block) % in.owners == in.own;
	char* to = tile + block * 32 + half * 16;
	ForwardPixels p(lane, lanes, columns);
	if (in.before == FORWARD_ALONE) {
		for (int pixel = lane; pixel < pixels; pixel += lanes, p.next()) {
			int y = top + p.i * hop, x = left + p.j * hop;
			bool inside = y >= 0 && y < s.H && x >= 0 && x < s.W;
			copy_async_or_zero(to + pixel * s.pitch(), in.x + (inside ? (plane + y * s.W + x) * CHANNELS + half * 8 : 0), inside);
		}
		prepare();
		return;
	}
	float2 coefficients[8];
	bool prepared = false;
	for (int from = lane; from < pixels || !prepared; from += FORWARD_BATCH * lanes) {
		uint4 value[FORWARD_BATCH], other[FORWARD_BATCH];
		int at[FORWARD_BATCH];
		bool mine[FORWARD_BATCH];
		for (int u = 0; u < FORWARD_BATCH; u++, p.next()) {
			int y = top + p.i * hop, x = left + p.j * hop;
			bool inside = from + u * lanes < pixels && y >= 0 && y < s.H && x >= 0 && x < s.W;
			at[u] = inside ? (plane + y * s.W + x) * CHANNELS + half * 8 : -1;
			mine[u] = owner && y >= part.y * s.stride && y < (part.y + part.height) * s.stride && x >= part.x * s.stride && x < (part.x + part.width) * s.stride;
			if (inside) value[u] = *(const uint4*)(in.x + at[u]);
			if (inside && in.before == FORWARD_NORM_ADD) other[u] = *(const uint4*)(in.r + at[u]);
		}
		if (!prepared) {
			prepare();
			for (int i = 0; i < 8; i++) coefficients[i] = affine[(first + min(block, count - 1)) * CHANNELS + half * 8 + i];
			prepared = true;
		}
		for (int u = 0; u < FORWARD_BATCH; u++) {
			int pixel = from + u * lanes;
			if (pixel >= pixels) break;
			uint4 v = make_uint4(0, 0, 0, 0);
			if (at[u] >= 0) {
				v = half_norm(value[u], coefficients);
				if (in.before == FORWARD_NORM_ADD) v = half_add(v, other[u]);
				v = half_relu(v);
				if (mine[u]) *(uint4*)(in.z + at[u]) = v;
			}
			*(uint4*)(to + pixel * s.pitch()) = v;
		}
	}
}

// A warp's share of the products: MT times 16 pixels by NT times 16 output channels.
template <int MT, int NT>
struct ForwardWarp {
	float sums[MT][NT][2][4];
	const char* a[MT];  // the row of the tile that this lane gives to load_matrices, for the first tap
	const char* b[NT];  // and that of the weights

	__device__ ForwardWarp() {
		for (int m = 0; m < MT; m++)
			for (int n = 0; n < NT; n++)
				for (int i = 0; i < 4; i++) sums[m][n][0][i] = sums[m][n][1][i] = 0.0f;
	}

	// A pixel beyond the part, or a block of channels beyond the slice, is computed like the first and goes nowhere.
	__device__ void stand(const ForwardShape& s, const ForwardPart& part, int first_pixel, int first_block, int blocks, const char* tile, const char* weights) {
		const int lane = threadIdx.x % 32;
		for (int m = 0; m < MT; m++) {
			int pixel = first_pixel + m * 16 + lane % 16;
			if (pixel >= part.pixels()) pixel = 0;
			a[m] = tile + (pixel / part.width * s.tile_columns() + pixel % part.width) * s.step * s.pitch() + lane / 16 * 16;
		}
		for (int n = 0; n < NT; n++) {
			int block = first_block + n < blocks ? first_block + n : 0;
			b[n] = weights + (block * CHANNELS + lane % 8 + lane / 16 * 8) * s.pitch() + lane / 8 % 2 * 16;
		}
	}

	// multiply adds up the products of all taps of a tile. SPAN and COUNT are s.span and the blocks of channels of the chunk, if they are known.
	template <int SPAN, int COUNT>
	__device__ void multiply(const ForwardShape& s, int count, int blocks) {
		const int span = SPAN ? SPAN : s.span, n16 = COUNT ? COUNT : count, pitch = COUNT ? COUNT * 32 + 16 : s.pitch();
		const int down = s.tile_columns() * pitch, tap = blocks * CHANNELS * pitch;
		for (int r = 0; r < span; r++) {
			for (int c = 0; c < span; c++) {
				for (int k = 0; k < n16; k++) {
					unsigned left[MT][4], right[NT][4];
					for (int m = 0; m < MT; m++) load_matrices(left[m], a[m] + r * down + c * pitch + k * 32);
					for (int n = 0; n < NT; n++) load_matrices(right[n], b[n] + (r * span + c) * tap + k * 32);
					for (int m = 0; m < MT; m++)
						for (int n = 0; n < NT; n++) {
							mma_bf16(sums[m][n][0], left[m], {right[n][0], right[n][1]});
							mma_bf16(sums[m][n][1], left[m], {right[n][2], right[n][3]});
						}
				}
			}
		}
	}

	__device__ void multiply_all(const ForwardShape& s, int count, int blocks) {
		if (s.span == 3 && count == s.chunk && count == 1)
			multiply<3, 1>(s, count, blocks);
		else if (s.span == 3 && count == s.chunk && count == 2)
			multiply<3, 2>(s, count, blocks);
		else if (s.span == 3 && count == s.chunk && count == 4)
			multiply<3, 4>(s, count, blocks);
		else
			multiply<0, 0>(s, count, blocks);
	}

	// leave rounds the sums and puts them into shared memory, [pixels up to a multiple of 16][16 blocks + 8].
	__device__ void leave(const ForwardPart& part, int first_pixel, int first_block, int blocks, char* result) const {
		const int lane = threadIdx.x % 32, pitch = blocks * 32 + 16;
		for (int m = 0; m < MT; m++)
			for (int n = 0; n < NT; n++)
				for (int h = 0; h < 2; h++) {
					if (first_pixel + m * 16 >= part.pixels() || first_block + n >= blocks) continue;
					char* to = result + (first_pixel + m * 16 + lane / 4) * pitch + (first_block + n) * 32 + h * 16 + lane % 4 * 4;
					*(unsigned*)to = pack_bf16(sums[m][n][h][0], sums[m][n][h][1]);
					*(unsigned*)(to + 8 * pitch) = pack_bf16(sums[m][n][h][2], sums[m][n][h][3]);
				}
	}
};
