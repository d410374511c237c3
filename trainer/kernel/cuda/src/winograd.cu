// 3x3 convolutions of stride 1 with at least 8 channels on each side: Winograd's F(4x4, 3x3). Tiles of 4x4 output pixels begin at the image's first pixel; T = M th tw of them, row by row, image after image.
//
//   winograd_weights  w -> u [36][in][out]: G g G^T of each filter, read backwards for a data gradient
//   winograd_input    x [M][C][H][W] -> v [36][...]: B^T d B of the 6x6 pixels round each tile
//   winograd_product  m [36][out][T] = chain over the input's channels of v [36][in][T] u
//   winograd_output   m -> y [M][out][H][W]: A^T m A
//   winograd_grad     dy -> q [36][...]: A dy A^T of each tile
//   winograd_sums     s [36][C][K] of a block of images = chain over the block's tiles of v [36][T][C] q [36][T][K]
//   winograd_weight_grad  s -> the block's part [K][C][3][3]: G^T s G; add_parts (order.cu) makes dw of the parts
//
// FLOPs of a product or of the sums: 72 T in out, a quarter of a direct convolution's. Bytes: v and m are 36/16 of the activations, written and read once: 4 (2 36 T (in + out) + M H W (in + out)).

#include "transforms.h"

KERNEL(winograd_weights, (const float* w, float* u, int n, int in, int out, int in_step, int out_step, int backwards)) {
	int i = thread_number();
	if (i >= n) return;
	const float* from = w + i / out * in_step + i % out * out_step;
	float taps[9], rows[3 * PATCH], o[PATCH];
	for (int t = 0; t < 9; t++) taps[t] = from[backwards ? 8 - t : t];
	for (int j = 0; j < 3; j++) weight_transform(taps + j, 3, rows + j, 3);
	for (int r = 0; r < PATCH; r++) {
		weight_transform(rows + 3 * r, 1, o, 1);
		for (int j = 0; j < PATCH; j++) u[(r * PATCH + j) * n + i] = o[j];
	}
}

// v's tiles and channels are tile_step and channel_step apart; from C to `channels` they are zeros' tiles.
KERNEL(winograd_input, (const float* x, float* v, int n, int C, int channels, int H, int W, int th, int tw, int position, int tile_step, int channel_step)) {
	int i = thread_number();
	if (i >= n) return;
	int tx = i % tw, ty = i / tw % th, c = i / (tw * th) % channels, image = i / (tw * th * channels);
	float tile[POSITIONS];
	input_tile(x + (image * C + c) * H * W, c < C ? H : 0, W, ty * TILE - 1, tx * TILE - 1, tile);
	float* to = v + ((image * th + ty) * tw + tx) * tile_step + c * channel_step;
	for (int p = 0; p < POSITIONS; p++) to[p * position] = tile[p];
}

KERNEL(winograd_grad, (const float* dy, float* q, int n, int K, int channels, int H, int W, int th, int tw, int position, int tile_step, int channel_step)) {
	int i = thread_number();
	if (i >= n) return;
	int tx = i % tw, ty = i / tw % th, k = i / (tw * th) % channels, image = i / (tw * th * channels);
	float tile[POSITIONS];
	grad_tile(dy + (image * K + k) * H * W, k < K ? H : 0, W, ty * TILE, tx * TILE, tile);
	float* to = q + ((image * th + ty) * tw + tx) * tile_step + k * channel_step;
	for (int p = 0; p < POSITIONS; p++) to[p * position] = tile[p];
}

// A thread does RUN outputs of a tile, so that it reads the tile's v once for them.
enum { RUN = 8 };

KERNEL(winograd_product, (const float* v, const float* u, float* m, int n, int T, int in, int out)) {
	int i = thread_number();
	if (i >= n) return;
	int runs = ceil_div(out, RUN);
	int t = i % T, first = i / T % runs * RUN, p = i / (T * runs);
	const float* left = v + p * in * T + t;
	const float* right = u + p * in * out;
	float sums[RUN];
	for (int j = 0; j < RUN; j++) sums[j] = 0.0f;
	if (first + RUN <= out) {
		for (int c = 0; c < in; c++) {
			float factor = left[c * T];
			for (int j = 0; j < RUN; j++) sums[j] = __fmaf_rn(factor, right[c * out + first + j], sums[j]);
		}
	} else {
		for (int c = 0; c < in; c++) {
			float factor = left[c * T];
			for (int j = 0; j < RUN; j++) sums[j] = __fmaf_rn(factor, first + j < out ? right[c * out + first + j] : 0.0f, sums[j]);
		}
	}
	for (int j = 0; j < RUN; j++)
		if (first + j < out) m[(p * out + first + j) * T + t] = sums[j];
}

KERNEL(winograd_output, (const float* m, float* y, int n, int out, int H, int W, int th, int tw, int T)) {
	int i = thread_number();
	if (i >= n) return;
	int t = i % T, k = i / T;
	int tx = t % tw, ty = t / tw % th, image = t / (tw * th);
	float sums[POSITIONS], rows[TILE * PATCH], pixels[TILE];
	for (int p = 0; p < POSITIONS; p++) sums[p] = m[(p * out + k) * T + t];
	for (int j = 0; j < PATCH; j++) output_transform(sums + j, PATCH, rows + j, PATCH);
	float* to = y + (image * out + k) * H * W;
	for (int r = 0; r < TILE; r++) {
		output_transform(rows + r * PATCH, 1, pixels, 1);
		int row = ty * TILE + r, column = tx * TILE;
		for (int j = 0; j < TILE; j++)
			if (row < H && column + j < W) to[row * W + column + j] = pixels[j];
	}
}

KERNEL(winograd_sums, (const float* v, const float* q, float* s, int n, int N, int C, int K, int tiles, int T)) {
	int i = thread_number();
	if (i >= n) return;
	int k = i % K, c = i / K % C, p = i / (K * C) % POSITIONS, unit = i / (K * C * POSITIONS);
	Images block = block_of(unit, N);
	const float* left = v + p * T * C + c;
	const float* right = q + p * T * K + k;
	float sum = 0.0f;
	for (int t = block.from * tiles; t < block.to * tiles; t++) sum = __fmaf_rn(left[t * C], right[t * K], sum);
	s[i] = sum;
}

KERNEL(winograd_weight_grad, (const float* s, float* parts, int n, int C, int K)) {
	int i = thread_number();
	if (i >= n) return;
	int k = i % K, c = i / K % C, unit = i / (K * C);
	float sums[POSITIONS], dw[9];
	for (int p = 0; p < POSITIONS; p++) sums[p] = s[((unit * POSITIONS + p) * C + c) * K + k];
	weight_grad_tile(sums, dw);
	for (int t = 0; t < 9; t++) parts[((unit * K + k) * C + c) * 9 + t] = dw[t];
}
