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

enum { FORWARD_THREADS = 256 };

// In the place of a pixel: it is the block's own.
enum { OWN = 1 << 30 };

// What is done to the input.
enum { FORWARD_ALONE = 0, FORWARD_NORM = 1, FORWARD_NORM_ADD = 2 };

struct ForwardShape {
	int C, H, W, K, R, stride, Ho, Wo;
	int rows, columns;      // of a part of the output, but for the last ones
	int span, step, chunk;  // see above
	int slice;              // blocks of output channels that a block of threads does
	int high;               // warps above each other in a part

	// Divisors: the parts of an image, those beside each other; a part's columns, a tile's; threads that copy a pixel each, and a row of weights; rows of a tap's weights; high.
	Divisor by_each, by_wide, by_columns, by_tile_columns, by_lanes, by_vectors, by_weights, by_high;

	__device__ int in_blocks() const { return ceil_div(C, CHANNELS); }
	__device__ int out_blocks() const { return ceil_div(K, CHANNELS); }
	__device__ int tile_columns() const { return by_tile_columns.by; }
	__device__ int part_rows() const { return ceil_div(rows * columns, 16) * 16; }  // of the result in shared memory
	__device__ int pitch() const { return chunk * 32 + 16; }                        // bytes of a pixel of the tile, or of an output channel of the weights
};

// A part of the output of an image: height by width pixels from (y, x) on.
struct ForwardPart {
	int image, y, x, height, width;

	__device__ ForwardPart(const ForwardShape& s, int group, int N, int part) {
		int of = s.by_each.remainder(part), band = s.by_wide.quotient(of);
		image = group * N + s.by_each.quotient(part);
		y = band * s.rows, x = (of - band * s.by_wide.by) * s.columns;
		height = min(s.rows, s.Ho - y), width = min(s.columns, s.Wo - x);
	}

	__device__ int pixels() const { return height * width; }
	__device__ Divisor by_width(const ForwardShape& s) const { return width == s.columns ? s.by_columns : Divisor(width); }
};

// What a tile is of: the taps from (row, column) on, `count` blocks of channels from `first` on.
struct ForwardPass {
	int row, column, first, count;
	Divisor by_lanes, by_vectors;
};

// What the tile is made of.
struct ForwardInput {
	const bf16* x;
	const bf16* r;  // of FORWARD_NORM_ADD
	bf16* z;        // the same: what became of x is written there, each number by one block of threads
	int before;
	int own, owners;  // blocks of channels of z that are this block's: those with number % owners = own
};

// forward_weights begins to copy a slice's weights [taps][16 slice][16 count]; w [R R][Kp][Cp]. Channels beyond the last are copies of others, and go nowhere.
DEVICE void forward_weights(const ForwardShape& s, const ForwardPass& pass, const bf16* w, int first_out, char* weights) {
	const int vectors = pass.by_vectors.by, lane = pass.by_vectors.quotient(threadIdx.x), v = threadIdx.x - lane * vectors, lanes = FORWARD_THREADS / 2 == pass.by_lanes.by * pass.count ? pass.by_lanes.by : FORWARD_THREADS / vectors;
	if (lane >= lanes) return;
	const int rows = s.slice * CHANNELS, Kp = s.out_blocks() * CHANNELS, Cp = s.in_blocks() * CHANNELS, all = s.span * s.span * rows;
	const int jump = s.by_weights.quotient(lanes), rest = lanes - jump * rows;
	int of = s.by_weights.quotient(lane), n = lane - of * rows;
	const bf16* from = w + (pass.row * s.R + pass.column) * Kp * Cp + pass.first * CHANNELS + v * 8;
	for (int row = lane; row < all; row += lanes) {
		copy_async(weights + row * s.pitch() + v * 16, from + (of * Kp + min(first_out * CHANNELS + n, Kp - 1)) * Cp);
		of += jump, n += rest;
		if (n >= rows) of++, n -= rows;
	}
}

// The pixels of a part's tile that a thread brings in, 8 channels of a block of each, one after the other, lanes apart.
struct ForwardPixels {
	int pixel, end;                  // its number in the tile
	int y, x;                        // where it lies in the image, or beside it
	int lanes, down, right, hop;     // steps of pixel, y and x; how far apart neighbours are in the image
	int row_end, columns;            // of x
	int image;                       // where the image's block of channels begins
	int block;                       // of channels, within the pass
	int offset;                      // of the thread's 16 bytes in a pixel of the tile

	__device__ ForwardPixels(const ForwardShape& s, const ForwardPart& part, const ForwardPass& pass) {
		const int thread = threadIdx.x / 2, half = threadIdx.x % 2, left = part.x * s.stride + pass.column - s.R / 2;
		hop = s.step == s.stride ? 1 : s.stride;
		lanes = pass.by_lanes.by, columns = s.tile_columns() * hop;
		block = pass.by_lanes.quotient(thread), pixel = thread - block * lanes;
		int i = s.by_tile_columns.quotient(pixel);
		y = part.y * s.stride + pass.row - s.R / 2 + i * hop, x = left + (pixel - i * s.tile_columns()) * hop;
		row_end = left + columns;
		i = s.by_tile_columns.quotient(lanes);
		down = i * hop, right = (lanes - i * s.tile_columns()) * hop;
		end = block < pass.count ? ((part.height - 1) * s.step + s.span) * s.tile_columns() : 0;
		image = (part.image * s.in_blocks() + pass.first + block) * s.H * s.W * CHANNELS + half * 8;
		offset = block * 32 + half * 16;
	}

	__device__ void next() {
		pixel += lanes, y += down, x += right;
		if (x >= row_end) y += hop, x -= columns;
	}

	// place is the pixel's number in the image, or -1 outside of it.
	__device__ int place(const ForwardShape& s) const { return pixel < end && (unsigned)y < (unsigned)s.H && (unsigned)x < (unsigned)s.W ? y * s.W + x : -1; }
};

// forward_copy begins to copy the input of a part to its tile.
DEVICE void forward_copy(const ForwardShape& s, const ForwardInput& in, const ForwardPart& part, const ForwardPass& pass, char* tile) {
	for (ForwardPixels p(s, part, pass); p.pixel < p.end; p.next()) {
		int at = p.place(s);
		copy_async_or_zero(tile + p.pixel * s.pitch() + p.offset, in.x + (at >= 0 ? p.image + at * CHANNELS : 0), at >= 0);
	}
}

// forward_transform does in place what is to be done to the input, each thread to what it copied itself, BATCH pixels at a time. ready() is called by every thread before it looks there; affine [16 blocks of channels] is there behind it.
template <int BATCH, typename F>
DEVICE void forward_transform(const ForwardShape& s, const ForwardInput& in, const ForwardPart& part, const ForwardPass& pass, const float2* affine, char* tile, F ready) {
	ForwardPixels p(s, part, pass);
	const bool add = in.before == FORWARD_NORM_ADD;
	// The part's own pixels, whose z it writes, in the blocks of channels that are the slice's.
	const int own_y = part.y * s.stride, own_x = part.x * s.stride, own_height = part.height * s.stride, own_width = add && (pass.first + p.block) % in.owners == in.own ? part.width * s.stride : 0;
	affine += (pass.first + min(p.block, pass.count - 1)) * CHANNELS + threadIdx.x % 2 * 8;
	for (bool first = true; p.pixel < p.end || first; first = false) {
		uint4 other[BATCH];
		int at[BATCH], pixel = p.pixel;
		for (int u = 0; u < BATCH; u++, p.next()) {
			at[u] = p.place(s);
			if (at[u] >= 0 && add) other[u] = *(const uint4*)(in.r + p.image + at[u] * CHANNELS);
			if (at[u] >= 0 && (unsigned)(p.y - own_y) < (unsigned)own_height && (unsigned)(p.x - own_x) < (unsigned)own_width) at[u] |= OWN;
		}
		if (first) ready();
		for (int u = 0; u < BATCH; u++) {
			if (at[u] < 0) continue;
			uint4* here = (uint4*)(tile + (pixel + u * p.lanes) * s.pitch() + p.offset);
			uint4 v = half_norm(*here, affine);
			if (add) v = half_add(v, other[u]);
			*here = v = half_relu(v);
			if (at[u] & OWN) *(uint4*)(in.z + p.image + (at[u] & ~OWN) * CHANNELS) = v;
		}
	}
}

// A warp's share of the products: MT times 16 pixels by NT times 16 output channels.
template <int MT, int NT>
struct ForwardWarp {
	float sums[MT][NT][2][4];
	int a[MT];  // where the row of the tile lies that this lane gives to load_matrices, for the first tap
	int b[NT];  // and that of the weights

	int first_pixel, first_block;

	// A pixel beyond the part, or a block of channels beyond the slice, is computed like the first and goes nowhere.
	__device__ void begin(const ForwardShape& s, const ForwardPart& part, int blocks) {
		const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
		const Divisor by = part.by_width(s);
		first_block = s.by_high.quotient(warp) * NT, first_pixel = s.by_high.remainder(warp) * MT * 16;
		for (int m = 0; m < MT; m++) {
			int pixel = first_pixel + m * 16 + lane % 16;
			if (pixel >= part.pixels()) pixel = 0;
			int y = by.quotient(pixel);
			a[m] = (y * s.tile_columns() + pixel - y * part.width) * s.step * s.pitch() + lane / 16 * 16;
		}
		for (int n = 0; n < NT; n++) {
			int block = first_block + n < blocks ? first_block + n : 0;
			b[n] = (block * CHANNELS + lane % 8 + lane / 16 * 8) * s.pitch() + lane / 8 % 2 * 16;
		}
		for (int m = 0; m < MT; m++)
			for (int n = 0; n < NT; n++)
				for (int i = 0; i < 4; i++) sums[m][n][0][i] = sums[m][n][1][i] = 0.0f;
	}

	// One step: 16 channels of a tap; from and of are where its pixels and its weights are beside those of the first.
	struct Step {
		unsigned left[MT][4], right[NT][4];
	};

	__device__ void load(Step& step, const char* tile, const char* weights, int from, int of) const {
		for (int m = 0; m < MT; m++) load_matrices(step.left[m], tile + a[m] + from);
		for (int n = 0; n < NT; n++) load_matrices(step.right[n], weights + b[n] + of);
	}

	__device__ void multiply(const Step& step) {
		for (int m = 0; m < MT; m++)
			for (int n = 0; n < NT; n++) {
				mma_bf16(sums[m][n][0], step.left[m], {step.right[n][0], step.right[n][1]});
				mma_bf16(sums[m][n][1], step.left[m], {step.right[n][2], step.right[n][3]});
			}
	}

	// multiply_known adds up the products of all taps of a tile of COUNT blocks of channels and a window of SPAN. A step is loaded while the one before is multiplied.
	template <int SPAN, int COUNT>
	__device__ void multiply_known(const ForwardShape& s, const char* tile, const char* weights) {
		const int pitch = COUNT * 32 + 16, steps = SPAN * COUNT, down = s.tile_columns() * pitch, tap = s.slice * CHANNELS * pitch;
		const int rows = steps % 2 ? SPAN : s.span;  // unrolled if a step of every row may stand in either place
		Step step[2];
		load(step[0], tile, weights, 0, 0);
		for (int r = 0; r < rows; r++) {
			for (int i = 0; i < steps; i++) {
				int next = i + 1 < steps ? i + 1 : 0, row = i + 1 < steps ? r : r + 1 < rows ? r + 1 : 0;  // behind the last step it is the first, in vain
				int now = steps % 2 ? (r * steps + i) % 2 : i % 2;
				load(step[1 - now], tile, weights, row * down + next / COUNT * pitch + next % COUNT * 32, (row * SPAN + next / COUNT) * tap + next % COUNT * 32);
				multiply(step[now]);
			}
		}
	}

	__device__ void multiply_any(const ForwardShape& s, int count, const char* tile, const char* weights) {
		const int down = s.tile_columns() * s.pitch(), tap = s.slice * CHANNELS * s.pitch();
		NOT_UNROLLED for (int r = 0; r < s.span; r++)
			NOT_UNROLLED for (int c = 0; c < s.span; c++)
				NOT_UNROLLED for (int k = 0; k < count; k++) {
					Step step;
					load(step, tile, weights, r * down + c * s.pitch() + k * 32, (r * s.span + c) * tap + k * 32);
					multiply(step);
				}
	}

	template <bool ANY>
	__device__ void multiply_all(const ForwardShape& s, int count, const char* tile, const char* weights) {
		if (!ANY && s.span == 3 && count == 1)
			multiply_known<3, 1>(s, tile, weights);
		else if (!ANY && s.span == 3 && count == 2)
			multiply_known<3, 2>(s, tile, weights);
		else if (!ANY && s.span == 3 && count == 4)
			multiply_known<3, 4>(s, tile, weights);
		else
			multiply_any(s, count, tile, weights);
	}

	// leave rounds the sums and puts them into shared memory, [pixels up to a multiple of 16][16 blocks + 8].
	__device__ void leave(const ForwardPart& part, int blocks, char* result) const {
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
