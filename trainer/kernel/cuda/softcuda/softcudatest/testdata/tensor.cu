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

// y [2][n] = relu of x as bf16, and the sum with its neighbour, both in the upper half of a pair; the lower half agrees, or it is -1.
KERNEL(paired, (const float *x, float *y)) {
	const int i = threadIdx.x, n = blockDim.x;
	const unsigned own = pack_bf16(x[i], x[i]), other = pack_bf16(x[i ^ 1], x[i ^ 1]), relu = relu_pair(own), sum = add_pair(own, other);
	y[i] = relu >> 16 == (relu & 0xffff) ? high_bf16(relu) : -1.0f;
	y[n + i] = sum >> 16 == (sum & 0xffff) ? high_bf16(sum) : -1.0f;
}

// y[i] = x[n-1-i], n = 4 a thread, in pieces of 16 bytes that other threads copied: two groups, of which the second is zeros for odd threads.
KERNEL(copied, (const float *x, float *y)) {
	SHARED_DYNAMIC(float, tile);
	const int t = threadIdx.x, n = blockDim.x * 4;
	float *second = tile + n;
	copy_async(tile + t * 4, x + t * 4);
	copy_async_commit();
	copy_async_or_zero(second + t * 4, x + t * 4, t % 2 == 0);
	copy_async_commit();
	copy_async_wait<1>();
	BARRIER();
	for (int i = 0; i < 4; i++) y[t * 4 + i] = tile[n - 1 - t * 4 - i];
	copy_async_wait<0>();
	BARRIER();
	for (int i = 0; i < 4; i++) y[n + t * 4 + i] = second[n - 1 - t * 4 - i];
}

// A thread reads what another copied: with each of bits 0..2 of `with`, commit, wait and barrier.
KERNEL(copied_with, (const float *x, float *y, int with)) {
	SHARED_DYNAMIC(float, tile);
	const int t = threadIdx.x;
	copy_async(tile + t * 4, x + t * 4);
	if (with & 1) copy_async_commit();
	if (with & 2) copy_async_wait<0>();
	if (with & 4) BARRIER();
	y[t] = tile[(t ^ 1) * 4];
}

// The next copy begins while others still read what the first brought.
KERNEL(copied_over, (const float *x, float *y, int barrier)) {
	SHARED_DYNAMIC(float, tile);
	const int t = threadIdx.x;
	copy_async(tile + t * 4, x + t * 4);
	copy_async_commit();
	copy_async_wait<0>();
	BARRIER();
	y[t] = tile[(t ^ 1) * 4];
	if (barrier) BARRIER();
	copy_async(tile + t * 4, x + t * 4);
	copy_async_commit();
	copy_async_wait<0>();
}

// The same, and all wait only when nobody reads any more.
KERNEL(copied_under, (const float *x, float *y)) {
	SHARED_DYNAMIC(float, tile);
	const int t = threadIdx.x;
	tile[t * 4] = 1.0f;
	BARRIER();
	y[t] = tile[(t ^ 1) * 4];
	copy_async(tile + t * 4, x + t * 4);
	copy_async_commit();
	BARRIER();
	copy_async_wait<0>();
}

// Others read before who copied has waited, with a barrier at the wrong place.
KERNEL(copied_early, (const float *x, float *y)) {
	SHARED_DYNAMIC(float, tile);
	const int t = threadIdx.x;
	copy_async(tile + t * 4, x + t * 4);
	copy_async_commit();
	BARRIER();
	y[t] = tile[(t ^ 1) * 4];
	copy_async_wait<0>();
}

KERNEL(copied_from_odd, (const float *x, float *y, int floats)) {
	SHARED_DYNAMIC(float, tile);
	copy_async(tile + floats, x + 4);
	copy_async(tile, x + floats);
}

KERNEL(copied_to_device, (const float *x, float *y)) { copy_async(y, x); }

// A tile that its warp has not been told to wait for.
KERNEL(loads_unsynced, (float *y, int synced)) {
	SHARED(bf16, tile, 256);
	const int lane = threadIdx.x;
	for (int i = 0; i < 8; i++) tile[(lane ^ 1) * 8 + i] = float_bf16(1.0f);
	if (synced) __syncwarp();
	unsigned r[4];
	load_matrices(r, tile + lane * 8);
	y[lane] = low_bf16(r[0]);
}

// The same of another warp's.
KERNEL(loads_of_another_warp, (float *y, int barrier)) {
	SHARED(bf16, tile, 512);
	const int t = threadIdx.x;
	for (int i = 0; i < 8; i++) tile[(t ^ 32) * 8 + i] = float_bf16(1.0f);
	if (barrier) BARRIER();
	unsigned r[4];
	load_matrices_transposed(r, tile + t * 8);
	y[t] = low_bf16(r[0]);
}

// Over what other lanes have yet to load.
KERNEL(loads_over, (float *y)) {
	SHARED(bf16, tile, 256);
	const int lane = threadIdx.x;
	for (int i = 0; i < 8; i++) tile[lane * 8 + i] = float_bf16(1.0f);
	__syncwarp();
	unsigned r[4];
	load_matrices(r, tile + lane * 8);
	tile[(lane ^ 1) * 8] = 0;
	y[lane] = low_bf16(r[0]);
}

KERNEL(loads_odd, (float *y)) {
	SHARED(bf16, tile, 512);
	unsigned r[2];
	load_matrices(r, tile + threadIdx.x * 8 + (threadIdx.x == 3 ? 4 : 0));
	y[threadIdx.x] = low_bf16(r[0]);
}

KERNEL(loads_from_device, (const bf16 *x, float *y)) {
	unsigned r[2];
	load_matrices(r, x + threadIdx.x * 8);
	y[threadIdx.x] = low_bf16(r[0]);
}

KERNEL(loads_behind, (float *y)) {
	SHARED(bf16, tile, 248);
	unsigned r[4];
	load_matrices(r, tile + threadIdx.x * 8);
	y[threadIdx.x] = low_bf16(r[0]);
}

KERNEL(half_a_product, (float *y)) {
	unsigned a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
	float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
	if (threadIdx.x % 32 < 16) mma_bf16(d, a, b);
	y[threadIdx.x] = d[0];
}

// Lanes of a half come together while the others are ahead, and wait for them.
KERNEL(halves, (float *y)) {
	const int lane = threadIdx.x;
	float v = (float)lane;
	if (lane < 16) v += __shfl_xor_sync(0x0000ffffu, v, 15);
	y[lane] = __shfl_sync(0xffffffffu, v, lane ^ 16);
}

// sums[group] = the sum of x over a group of blocks, of a warp each, by the last of them. Bits 0..5 of `with`: the fence before the ticket, of all threads or of the one that takes it; the fence behind, of all threads;
// the barrier before, the barrier behind; the fence behind, of the one that took it.
KERNEL(grouped, (const float *x, float *parts, float *sums, int *counters, int blocks, int with)) {
	SHARED(int, last, 1);
	const int t = threadIdx.x, group = blockIdx.x / blocks;
	parts[blockIdx.x * 32 + t] = x[blockIdx.x * 32 + t];
	if (with & 1) fence();
	if (with & 8) BARRIER();
	if (t == 0) {
		if (with & 2) fence();
		last[0] = add_ticket(counters + group) == blocks - 1;
		if (last[0]) counters[group] = 0;
		if (with & 32) fence();
	}
	if (with & 16) BARRIER();
	if (!last[0]) return;
	if (with & 4) fence();
	if (t == 1) {
		float sum = 0.0f;
		for (int i = 0; i < blocks * 32; i++) sum += parts[group * blocks * 32 + i];
		sums[group] = sum;
	}
}

// The last block passes no fence behind its ticket; another does later.
KERNEL(fence_of_another, (float *y, int *counter)) {
	SHARED(int, last, 1);
	const int t = threadIdx.x;
	y[blockIdx.x * 32 + t] = 1.0f;
	BARRIER();
	if (t == 0) {
		fence();
		last[0] = add_ticket(counter) == 1;
	}
	BARRIER();
	if (!last[0]) {
		BARRIER();
		fence();
		return;
	}
	if (t > 0) y[64 + t] = y[32 - blockIdx.x * 32 + t];
}

// Behind its ticket a block writes what the last one reads.
KERNEL(late_part, (float *y, int *counter)) {
	SHARED(int, last, 1);
	const int t = threadIdx.x;
	fence();
	BARRIER();
	if (t == 0) last[0] = add_ticket(counter) == 1;
	y[blockIdx.x * 32 + t] = 1.0f;
	BARRIER();
	if (!last[0]) return;
	fence();
	y[64 + t] = y[32 - blockIdx.x * 32 + t];
}

// A counter is counted in, and read.
KERNEL(read_counter, (float *y, int *counter)) {
	add_ticket(counter);
	y[threadIdx.x] = (float)*counter;
}

// How far the arrays are from a multiple of 128 and 16.
KERNEL(aligned, (float *y)) {
	SHARED(bf16, odd, 3);
	SHARED(bf16, tile, 8);
	SHARED_DYNAMIC(bf16, all);
	odd[0] = tile[0] = all[0] = 0;
	y[0] = (float)((size_t)all % 128 + (size_t)tile % 16);
}

KERNEL(shared_and_dynamic, (float *y)) {
	SHARED(float, part, 1024);
	SHARED_DYNAMIC(float, all);
	part[threadIdx.x] = all[threadIdx.x] = 1.0f;
	y[threadIdx.x] = part[threadIdx.x];
}
