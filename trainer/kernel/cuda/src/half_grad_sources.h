// Where the ways back of convolutions in half precision read from: parameters, and the coefficients of what becomes of an activation as it is read.
#pragma once

#include "half_grad.h"

// The forward activation x of a weight gradient.
struct Input {
	const bf16* x;
	const float *mean, *variance, *gamma, *beta; // of READ_NORM_RELU: [C], mean and variance per group `stride` apart
	int stride, how;
};

// The gradient dy of a convolution's output.
struct Gradient {
	const bf16 *dy, *xn;
	const float *mean, *variance, *gamma, *dgamma, *dbeta; // [K]; of READ_NORM_GRAD mean and variance per group, dense, dgamma and dbeta `stride` apart; of READ_NORM_EVAL_GRAD variance and gamma alone
	int stride, how;
	float count;
};

#define INPUT_PARAMETERS const bf16 *x, const float *x_mean, const float *x_variance, const float *x_gamma, const float *x_beta, int x_stride, int x_how
#define INPUT {x, x_mean, x_variance, x_gamma, x_beta, x_stride, x_how}
#define GRADIENT_PARAMETERS                                                                                                                                                       \
	const bf16 *dy, const bf16 *y_norm, const float *y_mean, const float *y_variance, const float *y_gamma, const float *y_dgamma, const float *y_dbeta, int y_stride, int y_how, \
	    float y_count
#define GRADIENT {dy, y_norm, y_mean, y_variance, y_gamma, y_dgamma, y_dbeta, y_stride, y_how, y_count}
#define CONV_PARAMETERS int N, int C, int H, int W, int K, int R, int stride, int Ho, int Wo
#define CONV {N, C, H, W, K, R, stride, Ho, Wo}

// put_input and put_gradient leave the coefficients of so many blocks of channels from `first` on, [blocks][3][16]; channels that there are not have zeros.
DEVICE void put_input(float* to, const Input& in, int group, int first, int blocks, int C, float epsilon) {
	if (in.how != READ_NORM_RELU) return;
	NOT_UNROLLED for (int i = threadIdx.x; i < blocks * CHANNELS; i += blockDim.x) {
		int c = first * CHANNELS + i, at = i / CHANNELS * COEFFICIENTS + i % CHANNELS;
		float2 affine = make_float2(0.0f, 0.0f);
		if (c < C) affine = half_affine(in.mean[group * in.stride + c], in.variance[group * in.stride + c], in.gamma[c], in.beta[c], epsilon);
		to[at] = affine.x;
		to[at + CHANNELS] = affine.y;
	}
}

// The coefficients of NormDataGrad: dx = fma(dy, scale, fma(x, slope, shift)).
struct GradAffine {
	float scale, slope, shift;
};

DEVICE GradAffine half_grad_affine(float mean, float variance, float gamma, float dgamma, float dbeta, float count, float epsilon) {
	float rstd = half_rstd(variance, epsilon), scale = gamma * rstd, each = __fdiv_rn(scale, count), slope = -(each * rstd * dgamma);
	return {scale, slope, __fmaf_rn(-slope, mean, -(each * dbeta))};
}

DEVICE void put_gradient(float* to, const Gradient& g, int group, int first, int blocks, int K, float epsilon) {
	if (g.how == READ_ALONE) return;
	NOT_UNROLLED for (int i = threadIdx.x; i < blocks * CHANNELS; i += blockDim.x) {
		int k = first * CHANNELS + i, at = i / CHANNELS * COEFFICIENTS + i % CHANNELS;
		GradAffine a = {0.0f, 0.0f, 0.0f};
		if (k < K && g.how == READ_NORM_GRAD)
			a = half_grad_affine(g.mean[group * K + k], g.variance[group * K + k], g.gamma[k], g.dgamma[group * g.stride + k], g.dbeta[group * g.stride + k], g.count, epsilon);
		else if (k < K)
			a.scale = g.gamma[k] * half_rstd(g.variance[k], epsilon);
		to[at] = a.scale;
		to[at + CHANNELS] = a.slope;
		to[at + 2 * CHANNELS] = a.shift;
	}
}
