// The linear layer: x [M][C], w [K][C], b [K], y [M][K]; G groups of N images.
//
//   linear_forward      y = (chain over c of x w) + b
//   linear_data_grad    dx = chain over k of dy w
//   linear_weight_grad  dw [K][C] per group: in a block of images a chain over them of dy x, then the tree
//   linear_bias_grad    db [K] per group: in a block of images their sum, one after the other, then the tree
//
// FLOPs: 2 M K C, of the bias M K. Bytes: 4 (M C + K C + M K). A thread does one output.

#include "order.h"

KERNEL(linear_forward, (const float* x, const float* w, const float* b, float* y, int n, int C, int K)) {
	int i = thread_number();
	if (i >= n) return;
	int k = i % K, image = i / K;
	float sum = 0.0f;
	for (int c = 0; c < C; c++) sum = __fmaf_rn(x[image * C + c], w[k * C + c], sum);
	y[i] = sum + b[k];
}

KERNEL(linear_data_grad, (const float* dy, const float* w, float* dx, int n, int C, int K)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, image = i / C;
	float sum = 0.0f;
	for (int k = 0; k < K; k++) sum = __fmaf_rn(dy[image * K + k], w[k * C + c], sum);
	dx[i] = sum;
}

KERNEL(linear_weight_grad, (const float* x, const float* dy, float* dw, int n, int N, int C, int K, int stride)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, k = i / C % K, group = i / (C * K), blocks = ceil_div(N, BLOCK_IMAGES);
	Tree<float> tree;
	for (int b = 0; b < blocks; b++) {
		Images block = block_of(group * blocks + b, N);
		float sum = 0.0f;
		for (int image = block.from; image < block.to; image++) sum = __fmaf_rn(dy[image * K + k], x[image * C + c], sum);
		tree.add(sum);
	}
	dw[group * stride + k * C + c] = tree.sum();
}

KERNEL(linear_bias_grad, (const float* dy, float* db, int n, int N, int K, int stride)) {
	int i = thread_number();
	if (i >= n) return;
	int k = i % K, group = i / K, blocks = ceil_div(N, BLOCK_IMAGES);
	Tree<float> tree;
	for (int b = 0; b < blocks; b++) {
		Images block = block_of(group * blocks + b, N);
		float sum = 0.0f;
		for (int image = block.from; image < block.to; image++) sum += dy[image * K + k];
		tree.add(sum);
	}
	db[group * stride + k] = tree.sum();
}
