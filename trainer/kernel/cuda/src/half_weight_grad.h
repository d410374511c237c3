// The gradient of a convolution's weights in half precision, of 16 output and 16 input channels and up to 9 taps (a unit), by the 8 warps of a block: what half_conv_weight_grad, half_conv_grads and half_conv_squares share.
//
//   dw[k][c][tap] = sum over images and output pixels of dy[k][pixel] x[c][pixel at tap]
//
// is a product of matrices over the pixels, 16 at a time: both operands lie with the pixels as rows, so that both are loaded transposed. Outside of the image x is a row of zeros. A warp keeps the whole unit in registers,
// 72 a lane, and does every 8th (or so) step of 16 pixels; one fragment of dy serves all taps.
#pragma once

#include "half_fan.h"
#include "half_grad_sources.h"

enum { UNIT_TAPS = 9, UNIT = UNIT_TAPS * CHANNELS * CHANNELS, GRAD_WARPS = 8, GRAD_THREADS = 32 * GRAD_WARPS };

// A unit's sums as a lane has them: [tap][8 input channels][the d of mma_bf16], rows being output channels.
struct Unit {
	float sum[UNIT_TAPS][2][4];
};

// A tile of output pixels: `rows` by `columns` from (top, left) on, of each of `images` images; and the tile of x that they need.
struct Window {
	int images, top, left, rows, columns, x_top, x_left, x_rows, x_columns;
};

DEVICE Window window_of(const Conv& c, int images, int top, int left, int rows, int columns) {
	Window w = {images, top, left, min(rows, c.Ho - top), min(columns, c.Wo - left), max(0, top * c.stride - c.R / 2), max(0, left * c.stride - c.R / 2), 0, 0};
	w.x_rows = min(c.H, (top + w.rows - 1) * c.stride + c.R / 2 + 1) - w.x_top;
	w.x_columns = min(c.W, (left + w.columns - 1) * c.stride + c.R / 2 + 1) - w.x_left;
	return w;
}

// gradients_of and inputs_of are the extents of a window from image `first` on, of `blocks` blocks of channels of one image, or of one block of any number of images. Blocks lie plane_of apart, images one behind the other.
DEVICE Extent gradients_of(const Conv& c, const Window& w, int first, int block, int blocks) {
	int plane = c.Ho * c.Wo, all = channel_blocks(c.K);
	Extent e = extent_of((first * all + block) * plane, max(w.images, blocks), blocks > 1 ? plane : all * plane, w.top, w.left, w.rows, w.columns, c.Wo, blocks > 1 ? (int)COEFFICIENTS : 0);
	if (blocks > 1) e.lie = plane_of(w.rows * w.columns);
	return e;
}

DEVICE Extent inputs_of(const Conv& c, const Window& w, int first, int block, int blocks) {
	int plane = c.H * c.W, all = channel_blocks(c.C);
	Extent e = extent_of((first * all + block) * plane, max(w.images, blocks), blocks > 1 ? plane : all * plane, w.x_top, w.x_left, w.x_rows, w.x_columns, c.W, blocks > 1 ? (int)COEFFICIENTS : 0);
	if (blocks > 1) e.lie = plane_of(w.x_rows * w.x_columns);
	return e;
}

DEVICE void clear(Unit& u) {
	for (int t = 0; t < UNIT_TAPS; t++)
		for (int i = 0; i < 8; i++) u.sum[t][i / 4][i % 4] = 0.0f;
}

// add_products adds steps first, first + every, ... of 16 pixels to the taps from `tap` on. dy and x are where the tiles lie in shared memory, whose first vector is zeros. RADIUS is R, if it is 3: then the matrices of the next taps
// are on their way while those of one are multiplied.
template <int RADIUS>
DEVICE void add_products(Unit& u, const uint4* shared, int dy, int x, const Conv& c, const Window& w, int tap, int first, int every) {
	const int lane = threadIdx.x % 32, pixels = w.rows * w.columns, all = w.images * pixels, half = lane / 16, R = RADIUS ? RADIUS : c.R, taps = RADIUS ? (int)UNIT_TAPS : min((int)UNIT_TAPS, R * R - tap);
	const int tap_r = RADIUS ? 0 : tap / R, tap_s = RADIUS ? 0 : tap % R;
	Divisor image(pixels), row(w.columns);
	NOT_UNROLLED for (int p = 16 * first; p < all; p += 16 * every) {
		enum { AHEAD = RADIUS ? 3 : 1 };
		unsigned a[4], b[AHEAD][4];
		int of = p + lane % 8 + half * 8;
		load_matrices_transposed(a, shared + (of < all ? dy + tile_vector(of, lane / 8 % 2) : 0));
		of = p + lane % 16;
		int i = image.quotient(of), rest = of - i * pixels, oy = row.quotient(rest), ox = rest - oy * w.columns;
		int top = (w.top + oy) * c.stride - R / 2, left = (w.left + ox) * c.stride - R / 2;
		int corner = (i * w.x_rows + top - w.x_top) * w.x_columns + left - w.x_left;
		if (of >= all) top = -R; // outside, whatever the tap
		auto load = [&](int r, int s, unsigned(&to)[4]) {
			bool inside = (unsigned)(top + r) < (unsigned)c.H && (unsigned)(left + s) < (unsigned)c.W;
			load_matrices_transposed(to, shared + (inside ? x + tile_vector(corner + r * w.x_columns + s, half) : 0));
		};
		if (RADIUS) {
			UNROLL for (int t = 0; t < AHEAD - 1; t++) load(t / R, t % R, b[t]);
		}
		int r = tap_r, s = tap_s;
		UNROLL for (int t = 0; t < UNIT_TAPS; t++) {
			if (!RADIUS && t >= taps) continue;
			const int next = t + AHEAD - 1;
			if (!RADIUS)
				load(r, s, b[0]);
			else if (next < UNIT_TAPS)
				load(next / R, next % R, b[next % AHEAD]);
			const unsigned(&now)[4] = b[t % AHEAD];
			mma_bf16(u.sum[t][0], a, {now[0], now[1]});
			mma_bf16(u.sum[t][1], a, {now[2], now[3]});
			if (!RADIUS && ++s == R) s = 0, r++;
		}
	}
}

DEVICE void add_products(Unit& u, const uint4* shared, int dy, int x, const Conv& c, const Window& w, int tap, int first, int every) {
	if (c.R == 3)
		add_products<3>(u, shared, dy, x, c, w, tap, first, every);
	else
		add_products<0>(u, shared, dy, x, c, w, tap, first, every);
}

// share_sums adds up the unit over the 8 warps, ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)), and leaves four parts of that in `shared`, [4][UNIT], for summed; element 32 i + lane is a lane's i-th number.
DEVICE void share_sums(Unit& u, float* shared) {
	int warp = threadIdx.x / 32;
	float* own = shared + warp % 4 * UNIT + threadIdx.x % 32;
	BARRIER(); // the tiles lie there
	if (warp >= 4) {
		for (int i = 0; i < UNIT / 32; i++) own[32 * i] = u.sum[i / 8][i / 4 % 2][i % 4];
	}
	BARRIER();
	if (warp < 4) {
		for (int i = 0; i < UNIT / 32; i++) own[32 * i] = u.sum[i / 8][i / 4 % 2][i % 4] + own[32 * i];
	}
	BARRIER();
}

// summed is four elements of the unit that share_sums left.
DEVICE float4 summed(const float* shared, int quad) {
	const float4* from = (const float4*)shared + quad;
	return plus(plus(from[0], from[2 * UNIT / 4]), plus(from[UNIT / 4], from[3 * UNIT / 4]));
}

// Which weight an element of a unit is.
struct Weight {
	int k, c, tap; // of the unit's

	__device__ Weight(int element) {
		int lane = element % 32, i = element / 32;
		tap = i / 8;
		k = lane / 4 + i / 2 % 2 * 8;
		c = i / 4 % 2 * 8 + lane % 4 * 2 + i % 2;
	}
};

// put_weights writes four elements of a unit into dw [K][C][R][R].
DEVICE void put_weights(float* dw, const Conv& c, int k_block, int c_block, int tap, int quad, float4 sum) {
	float four[4] = {sum.x, sum.y, sum.z, sum.w};
	for (int j = 0; j < 4; j++) {
		Weight at(4 * quad + j);
		int k = k_block * CHANNELS + at.k, channel = c_block * CHANNELS + at.c, taps = c.R * c.R;
		if (k < c.K && channel < c.C && tap + at.tap < taps) dw[(k * c.C + channel) * taps + tap + at.tap] = four[j];
	}
}

// The units of a group, each in `parts` parts of `images` images; a tile is `tile_images` images, or `rows` by `columns` pixels of one.
struct WeightGrad {
	float *dw, *nodes; // nodes [groups][fan_nodes(parts)][units][UNIT]
	int* tickets;      // [groups][fan_tickets(parts)][units]
	int dw_stride, images, tile_images, rows, columns;
};

#define WEIGHT_GRAD_PARAMETERS float *dw, float *nodes, int *tickets, int dw_stride, int part_images, int tile_images, int tile_rows, int tile_columns
#define WEIGHT_GRAD {dw, nodes, tickets, dw_stride, part_images, tile_images, tile_rows, tile_columns}

// Vectors of shared memory in front of the tiles: one of zeros, then coefficients of a block of channels of dy and of x.
enum { WEIGHT_GRAD_HEAD = 32 };

// weight_grad is block `block` of a weight gradient: one unit of one part. Blocks of a part lie side by side, since they read the same images.
DEVICE void weight_grad(int block, const Conv& c, const Input& in, const Gradient& g, const WeightGrad& to, float epsilon) {
	SHARED_DYNAMIC(uint4, shared);
	int chunks = ceil_div(c.R * c.R, UNIT_TAPS), c_blocks = channel_blocks(c.C), units = chunks * c_blocks * channel_blocks(c.K), parts = ceil_div(c.N, to.images);
	int unit = block % units, part = block / units % parts, group = block / units / parts;
	int tap = unit % chunks * UNIT_TAPS, c_block = unit / chunks % c_blocks, k_block = unit / chunks / c_blocks;
	float* coefficients = (float*)(shared + 1);
	int gradients = WEIGHT_GRAD_HEAD, tile = rounded_up(2 * to.tile_images * to.rows * to.columns), norm = gradients + tile, inputs = g.how == READ_NORM_GRAD ? norm + tile : norm;
	bool prepared = false;
	Unit u;
	clear(u);
	NOT_UNROLLED for (int first = part * to.images, end = min(first + to.images, c.N); first < end; first += to.tile_images) {
		NOT_UNROLLED for (int top = 0; top < c.Ho; top += to.rows) {
			NOT_UNROLLED for (int left = 0; left < c.Wo; left += to.columns) {
				Window w = window_of(c, min(to.tile_images, end - first), top, left, to.rows, to.columns);
				int image = group * c.N + first;
				Extent dy = gradients_of(c, w, image, k_block, 1), x = inputs_of(c, w, image, c_block, 1);
				Source from = {g.dy, g.xn, g.how}, x_from = {in.x, in.x, in.how};
				if (prepared) BARRIER(); // the products of the tiles before have been made
				copy_tile(shared + gradients, shared + norm, from, dy);
				copy_tile(shared + inputs, shared, x_from, x);
				if (!prepared) {
					if (threadIdx.x == 0) shared[0] = make_uint4(0, 0, 0, 0);
					put_gradient(coefficients, g, group, k_block, 1, c.K, epsilon);
					put_input(coefficients + COEFFICIENTS, in, group, c_block, 1, c.C, epsilon);
					BARRIER();
					prepared = true;
				}
				copy_async_wait<0>();
				transform_tile(shared + gradients, shared + norm, from, dy, coefficients);
				transform_tile(shared + inputs, shared, x_from, x, coefficients + COEFFICIENTS);
				BARRIER();
				add_products(u, shared, gradients, inputs, c, w, tap, threadIdx.x / 32, GRAD_WARPS);
			}
		}
	}
	float *sums = (float*)shared, *dw = to.dw + group * to.dw_stride;
	share_sums(u, sums);
	int step = units * (UNIT / 4);
	float4* nodes = (float4*)to.nodes + group * fan_nodes(parts) * step + unit * (UNIT / 4);
	for (int quad = threadIdx.x; quad < UNIT / 4; quad += blockDim.x) {
		float4 sum = summed(sums, quad);
		if (parts == 1)
			put_weights(dw, c, k_block, c_block, tap, quad, sum);
		else
			nodes[part * step + quad] = sum;
	}
	fan(nodes, to.tickets + group * fan_tickets(parts) * units + unit, (int*)(sums + 4 * UNIT), part, parts, UNIT / 4, step, units,
	    [&](int quad, float4 sum) { put_weights(dw, c, k_block, c_block, tap, quad, sum); });
}
