// The words of tensor.h: right, and with a fault each.
#include "tensor.h"

// d[16][8] = c + a[16][16] b[16][8] by one warp, the registers filled as tensor.h says.
KERNEL(product, (const float *a, const float *b, const float *c, float *d)) {
	const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
	unsigned left[4], right[2];
	float sum[4];
	for (int i = 0; i < 4; i++) {
		const float *from = a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
		left[i] = pack_bf16(from[0], from[1]);
	}
	for (int i = 0; i < 2; i++) {
		const float *from = b + (2 * t + i * 8) * 8 + g;
		right[i] = pack_bf16(from[0], from[8]);
	}
	for (int i = 0; i < 4; i++) sum[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
	mma_bf16(sum, left, right);
	for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

// The same from tiles in shared memory, in each of the ways that tensor.h tells of: d[4][16][8], of a[m][k] and a[k][m] with b[n][k], then with b[k][n].
KERNEL(product_of_tiles, (const float *a, const float *b, float *d)) {
	SHARED(bf16, mk, 256);
	SHARED(bf16, km, 256);
	SHARED(bf16, nk, 128);
	SHARED(bf16, kn, 128);
	const int lane = threadIdx.x;
	for (int i = lane; i < 256; i += 32) mk[i] = km[i % 16 * 16 + i / 16] = float_bf16(a[i]);
	for (int i = lane; i < 128; i += 32) kn[i] = nk[i % 8 * 16 + i / 8] = float_bf16(b[i]);
	__syncwarp();
	unsigned left[2][4], right[2][2];
	load_matrices(left[0], &mk[lane % 16 * 16 + lane / 16 * 8]);
	load_matrices_transposed(left[1], &km[(lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8]);
	load_matrices(right[0], &nk[lane % 8 * 16 + lane / 8 % 2 * 8]);
	load_matrices_transposed(right[1], &kn[lane % 16 * 8]);
	for (int way = 0; way < 4; way++) {
		float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
		mma_bf16(sum, left[way % 2], right[way / 2]);
		for (int i = 0; i < 4; i++) d[way * 128 + (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
	}
}

// What each lane gets of x[4][8][8], whose rows the lanes give backwards, the matrices too: y[12][32][2] is the four registers, transposed, the two registers, transposed.
KERNEL(loads, (const float *x, float *y)) {
	SHARED(bf16, tile, 256);
	const int lane = threadIdx.x;
	for (int i = lane; i < 256; i += 32) tile[i] = float_bf16(x[i]);
	__syncwarp();
	unsigned r[4], q[2];
	int n = 0;
	const bf16 *row = tile + (31 - lane) * 8;
	load_matrices(r, row);
	for (int i = 0; i < 4; i++, n++) y[n * 64 + lane * 2] = low_bf16(r[i]), y[n * 64 + lane * 2 + 1] = high_bf16(r[i]);
	load_matrices_transposed(r, row);
	for (int i = 0; i < 4; i++, n++) y[n * 64 + lane * 2] = low_bf16(r[i]), y[n * 64 + lane * 2 + 1] = high_bf16(r[i]);
	load_matrices(q, row);
	for (int i = 0; i < 2; i++, n++) y[n * 64 + lane * 2] = low_bf16(q[i]), y[n * 64 + lane * 2 + 1] = high_bf16(q[i]);
	load_matrices_transposed(q, row);
	for (int i = 0; i < 2; i++, n++) y[n * 64 + lane * 2] = low_bf16(q[i]), y[n * 64 + lane * 2 + 1] = high_bf16(q[i]);
}

// y = x as bf16; both halves of a pair agree with it, or it is -1.
KERNEL(rounded, (const float *x, float *y)) {
	const int i = threadIdx.x;
	const unsigned pair = pack_bf16(x[i], x[i ^ 1]);
	const bf16 v = float_bf16(x[i]), other = float_bf16(x[i ^ 1]);
	const bool same = pair == (v | (unsigned)other << 16) && __float_as_uint(low_bf16(pair)) == __float_as_uint(bf16_float(v)) && __float_as_uint(high_bf16(pair)) == __float_as_uint(bf16_float(other));
	y[i] = same ? bf16_float(v) : -1.0f;
}
