// The gradient of a convolution's input in half precision, by a block of 8 warps: the tile of dy, the weights, the products (half_data_grad_out.h has what becomes of them).
//
//   dx[pixel][c] = sum over the taps (r, s) and k of dy[pixel at the tap][k] w[k][c][r][s]
//
// is a product of matrices over (chunk of output channels, row of taps, block of 16 of the chunk's channels, tap of the row; or, where R is not 3, tap before block), in this order: a function of the shape alone. A part (half.h) of dx lies behind at most (rows + R - 1) rows of dy, which the block
// keeps as a tile, [16 chunk][pixels][16]; what a tap meets outside of it, or between two rows of a stride, is a vector of zeros. Weights are [taps][16 chunk][16 slice + 8], loaded transposed; a row's 16 bytes more make 8 rows lie
// in 8 groups of banks.
#pragma once

#include "half_grad_sources.h"

enum { DATA_WARPS = 8, DATA_THREADS = 32 * DATA_WARPS };

// How the work is cut (cutDataGrad in half_data_grad.go), and where things lie in shared memory, in vectors of 16 bytes. A warp does MT times 16 pixels and NT times 16 channels.
struct DataCut {
	int rows, columns;              // of a part
	int chunk, taps;                // blocks of output channels and taps whose products are made in one go
	int slice, share, mt, nt;       // blocks of input channels and parts of a block of threads
	int weights, tile, norm, behind, runs; // the coefficients of dy, then of what is behind, lie in front of the weights
};

#define DATA_CUT_PARAMETERS int rows, int columns, int chunk, int taps, int slice, int share, int mt, int nt, int weights_at, int tile_at, int norm_at, int behind_at, int runs_at
#define DATA_CUT {rows, columns, chunk, taps, slice, share, mt, nt, weights_at, tile_at, norm_at, behind_at, runs_at}

// A part of dx, and the rows and columns of dy that it meets.
struct DataPart {
	int image, y, x, height, width, top, left, high, wide;

	__device__ DataPart(const Conv& c, const DataCut& cut, int group, int part) {
		int across = ceil_div(c.W, cut.columns), each = across * ceil_div(c.H, cut.rows), of = part % each;
		image = group * c.N + part / each;
		y = of / across * cut.rows, x = of % across * cut.columns;
		height = min(cut.rows, c.H - y), width = min(cut.columns, c.W - x);
		top = first(y, c), left = first(x, c);
		high = max(0, min(c.Ho, (y + height - 1 + c.R / 2) / c.stride + 1) - top);
		wide = max(0, min(c.Wo, (x + width - 1 + c.R / 2) / c.stride + 1) - left);
	}

	static __device__ int first(int at, const Conv& c) { return at <= c.R / 2 ? 0 : ceil_div(at - c.R / 2, c.stride); }

	__device__ int pixels() const { return height * width; }

	// plane is the vectors from a block of channels of the tile to the next: so many that each begins like the first.
	__device__ int plane() const { return plane_of(high * wide); }
};

// load_weights begins to copy the weights of so many taps and blocks of output channels from w [R R][Kp][Cp].
DEVICE void load_weights(uint4* to, const bf16* w, const Conv& c, int tap, int taps, int k_block, int ks, int c_block, int cs, int pitch) {
	int Kp = channel_blocks(c.K) * CHANNELS, Cp = channel_blocks(c.C) * CHANNELS, row = 2 * cs, each = ks * CHANNELS, n = taps * each * row;
	const bf16* from = w + (tap * Kp + k_block * CHANNELS) * Cp + c_block * CHANNELS;
	Divisor rows(row), tap_rows(each);
	NOT_UNROLLED for (int v = threadIdx.x; v < n; v += blockDim.x) {
		int i = rows.quotient(v), column = v - i * row, t = tap_rows.quotient(i), k = i - t * each;
		copy_async(to + i * pitch + column, from + (t * Kp + k) * Cp + column * 8);
	}
	copy_async_commit();
}

// A warp's products: [16 pixels][16 channels][8 channels][the d of mma_bf16].
struct DataSums {
	float of[2][2][2][4];

	__device__ DataSums() {
		for (int i = 0; i < 4; i++)
			for (int j = 0; j < 8; j++) of[i / 2][i % 2][j / 4][j % 4] = 0.0f;
	}
};

// meets is the row (or column) of dy that a tap meets, or -1.
DEVICE int meets(int at, int stride, const Divisor& by, int n) {
	int i = by.quotient(at);
	return at >= 0 && i < n && i * stride == at ? i : -1;
}

// add_data_products adds taps [tap, tap + taps) and `count` blocks of output channels to the pixels from `pixel` and the channels from block n of the slice on. TAPS of a row are done side by side; it divides R, and rows are whole
// where it is more than 1.
template <int MT, int NT, int TAPS>
DEVICE void add_data_products(DataSums& sums, const uint4* shared, const Conv& c, const DataCut& cut, const DataPart& p, int tap, int taps, int count, int pixel, int n) {
	const int lane = threadIdx.x % 32, pitch = 2 * cut.slice + 1, plane = p.plane(), half = lane / 16;
	Divisor across(p.width), by(c.stride);
	int y[MT], x[MT];
	for (int m = 0; m < MT; m++) {
		int i = pixel + m * 16 + lane % 16, row = across.quotient(i);
		y[m] = i < p.pixels() ? p.y + row + c.R / 2 : -1;
		x[m] = p.x + i - row * p.width + c.R / 2;
	}
	int weights = cut.weights + lane % 16 * pitch + 2 * n + half, r = tap / c.R, s = tap - r * c.R;
	NOT_UNROLLED for (int t = 0; t < taps; t += TAPS) {
		int at[TAPS][MT], step[TAPS][MT];
		for (int m = 0; m < MT; m++) {
			int oy = meets(y[m] - r, c.stride, by, c.Ho), row = (oy - p.top) * p.wide - p.left;
			for (int i = 0; i < TAPS; i++) {
				int ox = meets(x[m] - s - i, c.stride, by, c.Wo);
				bool outside = oy < 0 || ox < 0;
				at[i][m] = outside ? 0 : cut.tile + tile_vector(row + ox, half);
				step[i][m] = outside ? 0 : plane;
			}
		}
		NOT_UNROLLED for (int k = 0; k < count; k++) {
			unsigned a[TAPS][MT][4], b[TAPS][NT][4];
			UNROLL for (int i = 0; i < TAPS; i++) {
				UNROLL for (int m = 0; m < MT; m++) load_matrices(a[i][m], shared + at[i][m] + k * step[i][m]);
				UNROLL for (int j = 0; j < NT; j++) load_matrices_transposed(b[i][j], shared + weights + (i * count + k) * CHANNELS * pitch + 2 * j);
			}
			UNROLL for (int i = 0; i < TAPS; i++) {
				UNROLL for (int m = 0; m < MT; m++) {
					UNROLL for (int j = 0; j < NT; j++) {
						mma_bf16(sums.of[m][j][0], a[i][m], {b[i][j][0], b[i][j][1]});
						mma_bf16(sums.of[m][j][1], a[i][m], {b[i][j][2], b[i][j][3]});
					}
				}
			}
		}
		weights += TAPS * count * CHANNELS * pitch;
		s += TAPS;
		if (s >= c.R) s = 0, r++;
	}
}

template <int MT, int NT>
DEVICE void add_data_products(DataSums& sums, const uint4* shared, const Conv& c, const DataCut& cut, const DataPart& p, int tap, int taps, int count, int pixel, int n) {
	if (c.R == 3 && taps == 9)
		add_data_products<MT, NT, 3>(sums, shared, c, cut, p, tap, taps, count, pixel, n);
	else
		add_data_products<MT, NT, 1>(sums, shared, c, cut, p, tap, taps, count, pixel, n);
}

// leave rounds a warp's sums and puts them into the tile, which then is of dx: [blocks][pixels][16].
DEVICE void leave(const DataSums& sums, uint4* tile, const DataPart& p, int pixel, int n, int blocks, int mt, int nt) {
	const int lane = threadIdx.x % 32;
	UNROLL for (int m = 0; m < 2; m++) {
		UNROLL for (int i = 0; i < 2; i++) {
			if (m >= mt || i >= nt || n + i >= blocks) continue;
			UNROLL for (int h = 0; h < 2; h++) {
				UNROLL for (int q = 0; q < 2; q++) {
					int of = pixel + m * 16 + lane / 4 + 8 * q;
					if (of >= p.pixels()) continue;
					unsigned* to = (unsigned*)(tile + (n + i) * 2 * p.pixels() + tile_vector(of, h)) + lane % 4;
					*to = pack_bf16(sums.of[m][i][h][2 * q], sums.of[m][i][h][2 * q + 1]);
				}
			}
		}
	}
}

// bare says whether a row (or column) of dx meets none of dy, between two rows of a stride that is wider than the window.
DEVICE bool bare(int at, const Conv& c, int n) {
	int last = (at + c.R / 2) / c.stride;
	return last >= n || last * c.stride < at - c.R / 2;
}

// clear_bare makes pixels that meet nothing 0, whatever the weights.
DEVICE void clear_bare(uint4* tile, const Conv& c, const DataPart& p, int blocks) {
	for (int v = threadIdx.x; v < 2 * p.pixels() * blocks; v += DATA_THREADS) {
		int i = v / 2 % p.pixels();
		if (bare(p.y + i / p.width, c, c.Ho) || bare(p.x + i % p.width, c, c.Wo)) tile[v / 2 / p.pixels() * 2 * p.pixels() + tile_vector(i, v % 2)] = make_uint4(0, 0, 0, 0);
	}
	BARRIER();
}
