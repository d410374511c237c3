// What kernels of the arithmetic cpu/2 share. Every file is compiled without fusing products and sums (nvcc -fmad=false, g++ -ffp-contract=off): what is one rounding is written __fmaf_rn; division and
// square roots are IEEE 754's; denormals are kept.
#pragma once

#include "device.h"

// Images of a block, whose sum is one part of the fixed tree; channels of a block of the CPU's activations, and lanes of its reductions.
enum { BLOCK_IMAGES = 8, LANES = 16 };

// The number of this thread: grids and blocks have one dimension.
DEVICE int thread_number() { return (int)(blockIdx.x * blockDim.x + threadIdx.x); }

DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// relu: +0 where v < 0, all else (-0 and NaN too) is itself.
DEVICE float rectified(float v) { return v < 0.0f ? 0.0f : v; }

// passed: a where v > 0, else +0.
DEVICE float passed(float v, float a) { return v > 0.0f ? a : 0.0f; }

// Tree adds up parts 0, 1, 2, ... as kernel.Split says: a node over [a, b) splits at a + the largest power of two below b-a. What is complete waits on a stack: as many
// sums as the number of parts so far has bits set.
template <typename T>
struct Tree {
	T stack[32];
	int depth;
	unsigned parts;

	__device__ Tree() : depth(0), parts(0) {}

	__device__ void add(T v) {
		parts++;
		for (unsigned n = parts; !(n & 1); n >>= 1) v = stack[--depth] + v;
		stack[depth++] = v;
	}

	__device__ T sum() {
		T v = stack[--depth];
		while (depth > 0) v = stack[--depth] + v;
		return v;
	}
};

// The sum of an image's four accumulators.
DEVICE float four(const float* a) { return (a[0] + a[2]) + (a[1] + a[3]); }

// by_halves adds up 16 lanes: lane l takes lane l+8, then l+4, l+2, l+1.
DEVICE float by_halves(float* v) {
	for (int half = LANES / 2; half > 0; half /= 2)
		for (int i = 0; i < half; i++) v[i] += v[i + half];
	return v[0];
}

// 1/sqrt(variance + epsilon).
DEVICE double rstd(float variance, double epsilon) { return __ddiv_rn(1.0, __dsqrt_rn((double)variance + epsilon)); }

// float64 numbers in memory of 4-byte alignment.
DEVICE void put_double(float* to, double v) {
	unsigned words[2];
	memcpy(words, &v, 8);
	memcpy(to, &words[0], 4);
	memcpy(to + 1, &words[1], 4);
}

DEVICE double get_double(const float* from) {
	unsigned words[2];
	double v;
	memcpy(&words[0], from, 4);
	memcpy(&words[1], from + 1, 4);
	memcpy(&v, words, 8);
	return v;
}

// A block of images of a group of N.
struct Images {
	int group, from, to;
};

DEVICE Images block_of(int unit, int N) {
	int blocks = ceil_div(N, BLOCK_IMAGES), group = unit / blocks;
	int from = group * N + unit % blocks * BLOCK_IMAGES;
	return {group, from, min(from + BLOCK_IMAGES, (group + 1) * N)};
}
