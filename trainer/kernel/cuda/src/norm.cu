// Batch normalisation: x [M][C][P], P = H W pixels; G groups of N images.
//
//   shifted_sums  of d = x - shift [C]: sums of d and of fma(d, d, .)         } four of each for a channel of an image: acc [2][M C][4],
//   grad_sums     of dy and of fma(dy, x - mean, .)                           } pixel p goes to p mod 4; `repeat` images of dy belong to one of x
//   block_sums    acc -> a block of images' part [2][C]: (0 + 2) + (1 + 3) of each image, one after the other; add_parts (order.cu) makes sums [2][C] per group of the parts
//   norm_statistics  sums over `count` elements -> mean = shift + s/count, variance = s2/count - (s/count)^2, record (mean, unbiased variance); in float64, rounded at the end
//   norm_gradients   sums -> dgamma = s2 rstd in float64, dbeta = s; rstd = 1/sqrt(variance + epsilon)
//   norm_affine      scale = gamma rstd, shift = beta - mean scale: [2][C] per group
//   norm_forward     y = fma(x, scale, shift)
//   norm_grad_affine scale = gamma rstd, slope = -(scale/count rstd) dgamma, shift = -scale/count dbeta - slope mean: [3][C] per group
//   norm_data_grad   dx = fma(dy, scale, fma(x, slope, shift))
//   norm_scale, norm_eval_data_grad   dx = dy scale
//
// FLOPs: 3 or 4 an element of x. Bytes: 4 an element of x, and 4 of dy and of the result where there are any; what is per channel or image is small beside it.

#include "order.h"

KERNEL(shifted_sums, (const float* x, const float* shift, float* acc, int n, int C, int P)) {
	int i = thread_number();
	if (i >= n) return;
	int plane = i / 4;
	float by = shift[plane % C], sum = 0.0f, squares = 0.0f;
	for (int p = i % 4; p < P; p += 4) {
		float d = x[plane * P + p] - by;
		sum += d;
		squares = __fmaf_rn(d, d, squares);
	}
	acc[i] = sum;
	acc[n + i] = squares;
}

KERNEL(grad_sums, (const float* dy, const float* x, const float* mean, float* acc, int n, int N, int C, int P, int stride, int repeat)) {
	int i = thread_number();
	if (i >= n) return;
	int plane = i / 4, c = plane % C, image = plane / C;
	const float* value = x + (image / repeat * C + c) * P;
	float by = mean[image / N * stride + c], sum = 0.0f, products = 0.0f;
	for (int p = i % 4; p < P; p += 4) {
		float gradient = dy[plane * P + p];
		sum += gradient;
		products = __fmaf_rn(gradient, value[p] - by, products);
	}
	acc[i] = sum;
	acc[n + i] = products;
}

KERNEL(block_sums, (const float* acc, float* parts, int n, int M, int N, int C)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, which = i / C % 2, unit = i / (2 * C);
	Images block = block_of(unit, N);
	float sum = 0.0f;
	for (int image = block.from; image < block.to; image++) sum += four(acc + ((which * M + image) * C + c) * 4);
	parts[i] = sum;
}

KERNEL(norm_statistics, (const float* sums, const float* shift, float* mean, float* variance, float* record, int n, int C, int sums_stride, int record_stride, double count)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, group = i / C;
	const float* of = sums + group * sums_stride;
	double d = (double)of[c] / count;
	double v = (double)of[C + c] / count - d * d;
	if (v < 0.0) v = 0.0;
	float m = (float)((double)shift[c] + d);
	mean[i] = m;
	variance[i] = (float)v;
	record[group * record_stride + c] = m;
	record[group * record_stride + C + c] = (float)(v * count / (count - 1.0));
}

KERNEL(norm_gradients, (const float* sums, const float* variance, float* dgamma, float* dbeta, int n, int C, int stride, double epsilon)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, group = i / C;
	dgamma[group * stride + c] = (float)((double)sums[(2 * group + 1) * C + c] * rstd(variance[i], epsilon));
	dbeta[group * stride + c] = sums[2 * group * C + c];
}

DEVICE float scale_of(float gamma, float variance, double epsilon) { return (float)((double)gamma * rstd(variance, epsilon)); }

KERNEL(norm_affine, (const float* mean, const float* variance, const float* gamma, const float* beta, float* affine, int n, int C, int stride, double epsilon)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, group = i / C;
	float scale = scale_of(gamma[c], variance[group * stride + c], epsilon);
	affine[2 * group * C + c] = scale;
	affine[(2 * group + 1) * C + c] = (float)((double)beta[c] - (double)mean[group * stride + c] * (double)scale);
}

// An affine map serves `images` images in a row.
KERNEL(norm_forward, (const float* x, const float* affine, float* y, int n, int images, int C, int P)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i / P % C, group = i / (P * C) / images;
	y[i] = __fmaf_rn(x[i], affine[2 * group * C + c], affine[(2 * group + 1) * C + c]);
}

KERNEL(norm_grad_affine, (const float* mean, const float* variance, const float* gamma, const float* dgamma, const float* dbeta, float* affine, int n, int C, int stride, double epsilon, double count)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i % C, group = i / C;
	float scale = scale_of(gamma[c], variance[i], epsilon);
	double s = (double)scale / count;
	float slope = (float)(-(s * rstd(variance[i], epsilon)) * (double)dgamma[group * stride + c]);
	affine[3 * group * C + c] = scale;
	affine[(3 * group + 1) * C + c] = slope;
	affine[(3 * group + 2) * C + c] = (float)(-(s * (double)dbeta[group * stride + c]) - (double)slope * (double)mean[i]);
}

KERNEL(norm_data_grad, (const float* dy, const float* x, const float* affine, float* dx, int n, int images, int C, int P)) {
	int i = thread_number();
	if (i >= n) return;
	int c = i / P % C, group = i / (P * C) / images;
	const float* of = affine + 3 * group * C + c;
	dx[i] = __fmaf_rn(dy[i], of[0], __fmaf_rn(x[i], of[C], of[2 * C]));
}

KERNEL(norm_scale, (const float* variance, const float* gamma, float* scale, int n, double epsilon)) {
	int i = thread_number();
	if (i < n) scale[i] = scale_of(gamma[i], variance[i], epsilon);
}

KERNEL(norm_eval_data_grad, (const float* dy, const float* scale, float* dx, int n, int C, int P)) {
	int i = thread_number();
	if (i < n) dx[i] = dy[i] * scale[i / P % C];
}
