// What moves pixels in half precision. An activation [M][C/16][H][W][16] is so many vectors of 8 channels, 16 bytes; a thread does one of the result's, n times, unless it says otherwise.
//
//   half_view              pixels [M][C][H][W], geometry [M][3] -> x = (pixel/255 - mean)/std, cropped at (dy, dx) of the padded image, mirrored if flip; 0 outside of it
//   half_shortcut_forward  every stride-th row and column, (K-C)/2 channels of zeros in front, the others behind
//   half_shortcut_grad     dy -> dx, 0 where nothing was taken
//   half_pool_forward      y [M][C] = sum/(H W), the sum in the order of a run (half.h) that goes on to the last pixel; a warp does a block of channels of an image
//   half_pool_grad         dy [M][C] -> dx = dy/(H W)
//   half_flatten           y [M][C H W]; a thread does a number
//   half_unflatten         its inverse
//
// FLOPs: at most 3 a number. Bytes: 2 for each number of an activation, 4 for each of another, 1 a pixel of a view.

#include "half.h"

// A vector's place: 8 channels from c on of a pixel of an image.
struct VectorPlace {
	int c, pixel, image;

	__device__ VectorPlace(int i, int C, int P) : c(i / (2 * P) % ceil_div(C, CHANNELS) * CHANNELS + i % 2 * 8), pixel(i / 2 % P), image(i / (2 * P) / ceil_div(C, CHANNELS)) {}
};

// Where channel c of a pixel lies.
DEVICE int channel_at(int image, int c, int pixel, int C, int P) { return ((image * ceil_div(C, CHANNELS) + c / CHANNELS) * P + pixel) * CHANNELS + c % CHANNELS; }

// 8 channels from c on, which may be below 0, of those that there are; others are zeros.
DEVICE uint4 channels_from(const bf16* x, int image, int c, int pixel, int C, int P) {
	if (c % 8 == 0 && C % 8 == 0) return c >= 0 && c < C ? *(const uint4*)(x + channel_at(image, c, pixel, C, P)) : make_uint4(0, 0, 0, 0);
	unsigned v[8];
	for (int j = 0; j < 8; j++) v[j] = c + j >= 0 && c + j < C ? x[channel_at(image, c + j, pixel, C, P)] : 0;
	return make_uint4(v[0] | v[1] << 16, v[2] | v[3] << 16, v[4] | v[5] << 16, v[6] | v[7] << 16);
}

KERNEL(half_view, (const unsigned char* pixels, const int* geometry, const float* mean, const float* std, uint4* x, int n, int C, int H, int W, int pad)) {
	int i = thread_number();
	if (i >= n) return;
	VectorPlace at(i, C, H * W);
	const int* g = geometry + 3 * at.image;
	int column = at.pixel % W, row = at.pixel / W + g[0] - pad;
	column = (g[2] ? W - 1 - column : column) + g[1] - pad;
	bool inside = row >= 0 && row < H && column >= 0 && column < W;
	float v[8];
	for (int j = 0; j < 8; j++) {
		int c = at.c + j;
		v[j] = inside && c < C ? __fdiv_rn(__fdiv_rn((float)pixels[((at.image * C + c) * H + row) * W + column], 255.0f) - mean[c], std[c]) : 0.0f;
	}
	x[i] = pack(v);
}

KERNEL(half_shortcut_forward, (const bf16* x, uint4* y, int n, int C, int H, int W, int K, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	VectorPlace at(i, K, Ho * Wo);
	y[i] = channels_from(x, at.image, at.c - (K - C) / 2, at.pixel / Wo * stride * W + at.pixel % Wo * stride, C, H * W);
}

KERNEL(half_shortcut_grad, (const bf16* dy, uint4* dx, int n, int C, int H, int W, int K, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	VectorPlace at(i, C, H * W);
	int row = at.pixel / W, column = at.pixel % W, front = (K - C) / 2;
	uint4 v = make_uint4(0, 0, 0, 0);
	if (row % stride == 0 && column % stride == 0) {
		if (front % 8 == 0 && C % 8 == 0 && K % 8 == 0) {
			if (at.c < C) v = channels_from(dy, at.image, at.c + front, row / stride * Wo + column / stride, K, Ho * Wo);
		} else {
			unsigned of[8];
			for (int j = 0; j < 8; j++) of[j] = at.c + j < C ? dy[channel_at(at.image, at.c + j + front, row / stride * Wo + column / stride, K, Ho * Wo)] : 0;
			v = make_uint4(of[0] | of[1] << 16, of[2] | of[3] << 16, of[4] | of[5] << 16, of[6] | of[7] << 16);
		}
	}
	dx[i] = v;
}

// n blocks of channels of images.
KERNEL(half_pool_forward, (const bf16* x, float* y, int n, int C, int P)) {
	int i = thread_number() / 32, blocks = ceil_div(C, CHANNELS);
	RunSums sums;
	for (int pixel = RunSums::pixel(); i < n && pixel < P; pixel += 8) {
		float v[4];
		unpack(*(const uint2*)(x + (i * P + pixel) * CHANNELS + RunSums::channel()), v);
		sums.take(v, v);
	}
	float sum = sums.sum();
	int c = i % blocks * CHANNELS + RunSums::number();
	if (i < n && RunSums::number() < CHANNELS && c < C) y[i / blocks * C + c] = __fdiv_rn(sum, (float)P);
}

KERNEL(half_pool_grad, (const float* dy, uint4* dx, int n, int C, int P)) {
	int i = thread_number();
	if (i >= n) return;
	VectorPlace at(i, C, P);
	float v[8];
	for (int j = 0; j < 8; j++) v[j] = at.c + j < C ? __fdiv_rn(dy[at.image * C + at.c + j], (float)P) : 0.0f;
	dx[i] = pack(v);
}

KERNEL(half_flatten, (const bf16* x, float* y, int n, int C, int P)) {
	int i = thread_number();
	if (i < n) y[i] = bf16_float(x[channel_at(i / (C * P), i / P % C, i % P, C, P)]);
}

KERNEL(half_unflatten, (const float* dy, uint4* dx, int n, int C, int P)) {
	int i = thread_number();
	if (i >= n) return;
	VectorPlace at(i, C, P);
	float v[8];
	for (int j = 0; j < 8; j++) v[j] = at.c + j < C ? dy[(at.image * C + at.c + j) * P + at.pixel] : 0.0f;
	dx[i] = pack(v);
}
