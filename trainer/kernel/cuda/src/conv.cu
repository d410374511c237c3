// Convolutions that Winograd's filtering does not fit (winograd.cu): any odd window R, any stride.
//
//   x [M][C][H][W], w [K][C][R][R], y [M][K][Ho][Wo]; zero padding R/2; Ho = (H-1)/stride + 1.
//   conv_forward      y  = chain over (r, s, c) of x w
//   conv_data_grad    dx = chain over the (r, s) that meet the pixel, then k, of dy w
//   conv_weight_grad  a block's part [K][C][R][R] = chain over (image, oy, ox) of x dy; add_parts (order.cu) makes dw of the parts
//
// A border of zeros takes part in the chains: 0 times infinity is NaN. FLOPs: 2 M K C R R Ho Wo each. Bytes: each output once; what is read comes from the caches but for the first
// time, 4 (M C H W + K C R R + M K Ho Wo) at best. A thread does the chain of one output.

#include "order.h"

KERNEL(conv_forward, (const float* x, const float* w, float* y, int n, int C, int H, int W, int K, int R, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	int ox = i % Wo, oy = i / Wo % Ho, k = i / (Wo * Ho) % K, image = i / (Wo * Ho * K);
	int top = oy * stride - R / 2, left = ox * stride - R / 2;
	float sum = 0.0f;
	for (int r = 0; r < R; r++) {
		for (int s = 0; s < R; s++) {
			int row = top + r, column = left + s;
			bool inside = row >= 0 && row < H && column >= 0 && column < W;
			const float* from = x + (image * C * H + row) * W + column;
			const float* weight = w + (k * C * R + r) * R + s;
			for (int c = 0; c < C; c++) sum = __fmaf_rn(inside ? from[c * H * W] : 0.0f, weight[c * R * R], sum);
		}
	}
	y[i] = sum;
}

KERNEL(conv_data_grad, (const float* dy, const float* w, float* dx, int n, int C, int H, int W, int K, int R, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	int x = i % W, y = i / W % H, c = i / (W * H) % C, image = i / (W * H * C);
	float sum = 0.0f;
	for (int r = 0; r < R; r++) {
		int row = y + R / 2 - r;
		if (row % stride != 0) continue;
		row /= stride;
		for (int s = 0; s < R; s++) {
			int column = x + R / 2 - s;
			if (column % stride != 0) continue;
			column /= stride;
			bool inside = row >= 0 && row < Ho && column >= 0 && column < Wo;
			const float* from = dy + (image * K * Ho + row) * Wo + column;
			const float* weight = w + (c * R + r) * R + s;
			for (int k = 0; k < K; k++) sum = __fmaf_rn(inside ? from[k * Ho * Wo] : 0.0f, weight[k * C * R * R], sum);
		}
	}
	dx[i] = sum;
}

KERNEL(conv_weight_grad, (const float* x, const float* dy, float* parts, int n, int N, int C, int H, int W, int K, int R, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	int s = i % R, r = i / R % R, c = i / (R * R) % C, k = i / (R * R * C) % K, unit = i / (R * R * C * K);
	Images block = block_of(unit, N);
	float sum = 0.0f;
	for (int image = block.from; image < block.to; image++) {
		const float* from = x + (image * C + c) * H * W;
		const float* gradient = dy + (image * K + k) * Ho * Wo;
		for (int oy = 0; oy < Ho; oy++) {
			int row = oy * stride + r - R / 2;
			for (int ox = 0; ox < Wo; ox++) {
				int column = ox * stride + s - R / 2;
				bool inside = row >= 0 && row < H && column >= 0 && column < W;
				sum = __fmaf_rn(inside ? from[row * W + column] : 0.0f, gradient[oy * Wo + ox], sum);
			}
		}
	}
	parts[i] = sum;
}
