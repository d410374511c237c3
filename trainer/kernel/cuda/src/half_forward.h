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
	__device__ int pitch() const { return chunk * 32 + 16; }  // bytes of a pixel of the tile, or of an output channel of the weights
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

	// owns says whether a pixel of the input is among those that the part's outputs begin at.
	__device__ bool owns(const ForwardShape& s, int pixel) const {
		if (width == s.Wo) return pixel >= y * s.stride * s.W && pixel < (y + height) * s.stride * s.W;
		int of_x = pixel % s.W, of_y = pixel / s.W;
		return of_y >= y * s.stride && of_y < (y + height) * s.stride && of_x >= x * s.stride && of_x < (x + width) * s.stride;
	}

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
	const int vectors = pass.by_vectors.by, lane = pass.by_vectors.quotient(threadIdx.x), v = threadIdx.x - lane * vectors, lanes = pass.by_lanes.by;
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

	__device__ ForwardPixels() {}

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
		COMPUTED(offset); COMPUTED(end); COMPUTED(down); COMPUTED(right); COMPUTED(row_end);
		COMPUTED(pixel); COMPUTED(y); COMPUTED(x);
	}

	__device__ void next() {
		pixel += lanes, y += down, x += right;
		if (x >= row_end) y += hop, x -= columns;
		COMPUTED(y); COMPUTED(x);
	}

	// place is the pixel's number in the image, or -1 outside of it.
	__device__ int place(const ForwardShape& s) const { return pixel < end && (unsigned)y < (unsigned)s.H && (unsigned)x < (unsigned)s.W ? y * s.W + x : -1; }
};

// The tile of a part on its way: copied as it is, and what is to be done to it done in place, each thread to what it copied itself. The places of its first BATCH pixels stay in registers.
template <int BATCH>
struct ForwardTile {
	int image;      // as in ForwardPixels
	int here;       // where the first pixel lies in the tile, in bytes
	int at[BATCH];  // where they lie in the image, or -1
	uint4 other[BATCH];

	// copy begins to copy the input.
	__device__ void copy(const ForwardShape& s, const ForwardInput& in, const ForwardPart& part, const ForwardPass& pass, char* tile) {
		ForwardPixels p(s, part, pass);
		image = p.image, here = p.pixel * s.pitch() + p.offset;
		for (int u = 0; u < BATCH; u++, p.next()) at[u] = copy_one(s, in, p, tile);
		NOT_UNROLLED for (; p.pixel < p.end; p.next()) copy_one(s, in, p, tile);
	}

	__device__ static int copy_one(const ForwardShape& s, const ForwardInput& in, const ForwardPixels& p, char* tile) {
		int at = p.place(s);
		if (p.pixel < p.end) copy_async_or_zero(tile + p.pixel * s.pitch() + p.offset, in.x + (at >= 0 ? p.image + at * CHANNELS : 0), at >= 0);
		return at;
	}

	// add begins to load what is to be added to the first pixels.
	__device__ void add(const ForwardInput& in) {
		for (int u = 0; u < BATCH; u++)
			if (at[u] >= 0) other[u] = *(const uint4*)(in.r + image + at[u] * CHANNELS);
	}

	// transform does what is to be done, when all is there; affine [16 blocks of channels].
	__device__ void transform(const ForwardShape& s, const ForwardInput& in, const ForwardPart& part, const ForwardPass& pass, const float2* affine, char* tile) {
		const int block = min(pass.by_lanes.quotient(threadIdx.x / 2), pass.count - 1), lanes = pass.by_lanes.by;
		affine += (pass.first + block) * CHANNELS + threadIdx.x % 2 * 8;
		const bool adds = in.before == FORWARD_NORM_ADD, owner = adds && (pass.first + block) % in.owners == in.own;
		for (int u = 0; u < BATCH; u++)
			if (at[u] >= 0) transform_one(s, in, part, affine, (uint4*)(tile + here + u * lanes * s.pitch()), at[u], other[u], adds, owner);
		if (((part.height - 1) * s.step + s.span) * s.tile_columns() <= BATCH * lanes) return;
		ForwardPixels p(s, part, pass);
		for (int u = 0; u < BATCH; u++) p.next();
		NOT_UNROLLED for (; p.pixel < p.end; p.next()) {
			int at = p.place(s);
			if (at < 0) continue;
			uint4 other = adds ? *(const uint4*)(in.r + image + at * CHANNELS) : make_uint4(0, 0, 0, 0);
			transform_one(s, in, part, affine, (uint4*)(tile + p.pixel * s.pitch() + p.offset), at, other, adds, owner);
		}
	}

	// What becomes of x is z too, written for its own pixels by the block whose slice has the channels.
	__device__ void transform_one(const ForwardShape& s, const ForwardInput& in, const ForwardPart& part, const float2* affine, uint4* here, int at, uint4 other, bool adds, bool owner) const {
		uint4 v = half_norm(*here, affine);
		if (adds) v = half_add(v, other);
		*here = v = half_relu(v);
		if (owner && part.owns(s, at)) *(uint4*)(in.z + image + at * CHANNELS) = v;
	}
};

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

	// leave rounds the sums and puts them into shared memory, [pixels that warps stand for][16 blocks + 8].
	__device__ void leave(int blocks, char* result) const {
		const int lane = threadIdx.x % 32, pitch = blocks * 32 + 16;
		char* to = result + (first_pixel + lane / 4) * pitch + first_block * 32 + lane % 4 * 4;
		for (int m = 0; m < MT; m++)
			for (int n = 0; n < NT; n++)
				for (int h = 0; h < 2; h++) {
					if (n > 0 && first_block + n >= blocks) continue;
					*(unsigned*)(to + m * 16 * pitch + n * 32 + h * 16) = pack_bf16(sums[m][n][h][0], sums[m][n][h][1]);
					*(unsigned*)(to + (m * 16 + 8) * pitch + n * 32 + h * 16) = pack_bf16(sums[m][n][h][2], sums[m][n][h][3]);
				}
	}
};
