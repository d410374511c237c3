// What moves pixels: views, shortcuts, pooling.
//
//   view              pixels [M][C][H][W], geometry [M][3] -> x = (pixel/255 - mean)/std, cropped at (dy, dx) of the padded image, mirrored if flip; 0 outside of it
//   shortcut_forward  x [M][C][H][W] -> y [M][K][Ho][Wo]: every stride-th row and column, (K-C)/2 channels of zeros in front, the others behind
//   shortcut_grad     dy -> dx, 0 where nothing was taken
//   pool_forward      x -> y [M][C] = ((a0 + a2) + (a1 + a3))/(H W), a_l the sum of the pixels p with p mod 4 = l
//   pool_grad         dy [M][C] -> dx = dy/(H W)
//   copy              y = x: flattening [M][C][H][W], which lies plain here
//
// FLOPs: at most 3 a number. Bytes: 4 for each number of the larger side, written or read, and as much or less for the other (1 a pixel of a view).

#include "order.h"

KERNEL(view, (const unsigned char* pixels, const int* geometry, const float* mean, const float* std, float* x, int n, int C, int H, int W, int pad)) {
	int i = thread_number();
	if (i >= n) return;
	int column = i % W, row = i / W % H, c = i / (W * H) % C, image = i / (W * H * C);
	const int* g = geometry + 3 * image;
	int from_row = row + g[0] - pad, from_column = (g[2] ? W - 1 - column : column) + g[1] - pad;
	float v = 0.0f;
	if (from_row >= 0 && from_row < H && from_column >= 0 && from_column < W)
		v = ((float)pixels[((image * C + c) * H + from_row) * W + from_column] / 255.0f - mean[c]) / std[c];
	x[i] = v;
}

KERNEL(shortcut_forward, (const float* x, float* y, int n, int C, int H, int W, int K, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	int column = i % Wo, row = i / Wo % Ho, c = i / (Wo * Ho) % K - (K - C) / 2, image = i / (Wo * Ho * K);
	y[i] = c >= 0 && c < C ? x[((image * C + c) * H + row * stride) * W + column * stride] : 0.0f;
}

KERNEL(shortcut_grad, (const float* dy, float* dx, int n, int C, int H, int W, int K, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	int column = i % W, row = i / W % H, c = i / (W * H) % C, image = i / (W * H * C);
	bool taken = row % stride == 0 && column % stride == 0;
	dx[i] = taken ? dy[((image * K + c + (K - C) / 2) * Ho + row / stride) * Wo + column / stride] : 0.0f;
}

KERNEL(pool_forward, (const float* x, float* y, int n, int plane)) {
	int i = thread_number();
	if (i >= n) return;
	float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
	for (int p = 0; p < plane; p++) sums[p % 4] += x[i * plane + p];
	y[i] = four(sums) / (float)plane;
}

KERNEL(pool_grad, (const float* dy, float* dx, int n, int plane)) {
	int i = thread_number();
	if (i < n) dx[i] = dy[i / plane] / (float)plane;
}

KERNEL(copy, (const float* x, float* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = x[i];
}
