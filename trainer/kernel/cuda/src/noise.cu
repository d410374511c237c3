// Noise on logits y [M][K] -> noisy [M][K], drawn by (seed, purpose, step, the image's sample): the bits of package noise (docs/random.md).
//
//   gaussian_noise   y + sd z in float64, rounded once; normals 4b to 4b+3 of an image are of its block b
//   symmetric_noise  with probability p the value of another of the image's logits, uniformly, else its own; logit l goes by block l
//   philox_blocks    block i of key [n][2] and counter [n][4]: what the tests compare with the published values; nothing else launches it
//
// FLOPs: 100 integer operations a block; some 100 in float64 for each normal. Bytes: 8 a logit, 4 an image. A thread draws a block.

#include "normals.h"

KERNEL(gaussian_noise, (const float* y, const int* samples, const int* step, float* noisy, int n, int K, int seed_lo, int seed_hi, int purpose, double sd)) {
	int i = thread_number();
	if (i >= n) return;
	int blocks = ceil_div(K, 4), image = i / blocks, block = i % blocks;
	RandomBlock w = philox((unsigned)seed_lo, (unsigned)seed_hi, (unsigned)block, (unsigned)samples[image], (unsigned)step[0], (unsigned)purpose);
	double z[4];
	box_muller(w.w[0], w.w[1], z);
	box_muller(w.w[2], w.w[3], z + 2);
	for (int lane = 0; lane < 4; lane++) {
		int l = 4 * block + lane, at = image * K + l;
		if (l < K) noisy[at] = (float)((double)y[at] + sd * z[lane]);
	}
}

KERNEL(symmetric_noise, (const float* y, const int* samples, const int* step, float* noisy, int n, int K, int seed_lo, int seed_hi, int purpose, double p)) {
	int i = thread_number();
	if (i >= n) return;
	int image = i / K, l = i % K, from = l;
	RandomBlock w = philox((unsigned)seed_lo, (unsigned)seed_hi, (unsigned)l, (unsigned)samples[image], (unsigned)step[0], (unsigned)purpose);
	if (random_unit(w.w[0], w.w[1]) < p) {
		from = (int)random_below(w.w[2], w.w[3], (unsigned)(K - 1));
		if (from >= l) from++;
	}
	noisy[i] = y[image * K + from];
}

KERNEL(philox_blocks, (const int* key, const int* counter, int* blocks, int n)) {
	int i = thread_number();
	if (i >= n) return;
	const int *k = key + 2 * i, *c = counter + 4 * i;
	RandomBlock b = philox((unsigned)k[0], (unsigned)k[1], (unsigned)c[0], (unsigned)c[1], (unsigned)c[2], (unsigned)c[3]);
	for (int word = 0; word < 4; word++) blocks[4 * i + word] = (int)b.w[word];
}
