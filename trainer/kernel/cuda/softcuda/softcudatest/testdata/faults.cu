// Kernels that are right, and kernels with a fault each.
#include "device.h"

// y = s x + y
KERNEL(axpy, (const float *x, float *y, float s, int n)) {
	const int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) y[i] = __fmaf_rn(s, x[i], y[i]);
}

// sums[block] = the sum of 256 elements, by halves.
KERNEL(reduce, (const float *x, float *sums)) {
	SHARED(float, part, 256);
	const int t = threadIdx.x;
	part[t] = x[blockIdx.x * 256 + t];
	for (int half = 128; half > 0; half /= 2) {
		BARRIER();
		if (t < half) part[t] += part[t + half];
	}
	if (t == 0) sums[blockIdx.x] = part[0];
}

// The same without the barrier between halves: a GPU's warps would read what is not written yet.
KERNEL(reduce_without_barrier, (const float *x, float *sums)) {
	SHARED(float, part, 256);
	const int t = threadIdx.x;
	part[t] = x[blockIdx.x * 256 + t];
	BARRIER();
	for (int half = 128; half > 0; half /= 2)
		if (t < half) part[t] += part[t + half];
	if (t == 0) sums[blockIdx.x] = part[0];
}

// sums[warp] = the sum of 32 elements by shuffles, then how many are positive, and the last element.
KERNEL(warp_sums, (const float *x, float *sums)) {
	const unsigned all = 0xffffffffu;
	const int t = threadIdx.x, warp = t / 32, lane = t % 32;
	float v = x[t];
	for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(all, v, by);
	const unsigned positive = __ballot_sync(all, x[t] > 0.0f);
	const float last = __shfl_sync(all, x[t], 31);
	const float before = __shfl_up_sync(all, x[t], 1);
	const float after = __shfl_down_sync(all, x[t], 1, 8);
	if (lane == 7) {
		sums[warp * 5] = v;
		sums[warp * 5 + 1] = (float)__popc((int)positive);
		sums[warp * 5 + 2] = last;
		sums[warp * 5 + 3] = before;
		sums[warp * 5 + 4] = after;
	}
}

// Lanes hand values on through shared memory, which __syncwarp is enough for.
KERNEL(through_shared, (float *y)) {
	SHARED(float, slot, 64);
	const int t = threadIdx.x;
	slot[t] = (float)t;
	__syncwarp();
	y[t] = slot[t ^ 1];
}

KERNEL(through_shared_unsynced, (float *y)) {
	SHARED(float, slot, 64);
	const int t = threadIdx.x;
	slot[t] = (float)t;
	y[t] = slot[t ^ 1];
}

KERNEL(write_behind, (float *y, int n)) {
	const int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i <= n) y[i] = 1.0f;
}

KERNEL(read_before, (const float *x, float *y)) { y[threadIdx.x] = x[(int)threadIdx.x - 1]; }

KERNEL(shared_behind, (float *y)) {
	SHARED(float, part, 64);
	part[threadIdx.x + 1] = 1.0f;
	y[threadIdx.x] = 1.0f;
}

KERNEL(uninitialised_shared, (float *y)) {
	SHARED(float, part, 64);
	y[threadIdx.x] = part[threadIdx.x];
}

KERNEL(dynamic_reversed, (const float *x, float *y)) {
	SHARED_DYNAMIC(float, all);
	const int t = threadIdx.x, n = blockDim.x;
	all[t] = x[t];
	BARRIER();
	y[t] = all[n - 1 - t];
}

KERNEL(half_at_barrier, (float *y)) {
	if (threadIdx.x < 32) BARRIER();
	y[threadIdx.x] = 1.0f;
}

KERNEL(two_barriers, (float *y)) {
	if (threadIdx.x < 32)
		BARRIER();
	else
		BARRIER();
	y[threadIdx.x] = 1.0f;
}

KERNEL(half_a_warp, (float *y)) {
	float v = 1.0f;
	if (threadIdx.x < 16) v = __shfl_sync(0xffffffffu, v, 0);
	y[threadIdx.x] = v;
}

// Two blocks write one element.
KERNEL(blocks_meet, (float *y)) {
	if (threadIdx.x == 0) y[0] = (float)blockIdx.x;
}

// What it gives depends on which block comes first.
KERNEL(first_comes, (float *y)) {
	const float before = y[0];
	y[0] = before * 2.0f + (float)blockIdx.x;
}

KERNEL(divide, (int *y, int by)) { y[threadIdx.x] = (int)(threadIdx.x + 7) / by; }

KERNEL_BOUNDS(bounded, 64, (float *y)) { y[threadIdx.x] = 1.0f; }

// A stack that is too small.
KERNEL(large_array, (float *y, int n)) {
	float local[100000];
	for (int i = 0; i < n; i++) local[i * 4099 % 100000] = (float)i;
	float v = 0.0f;
	for (int i = 0; i < n; i++) v += local[i * 4099 % 100000];
	y[threadIdx.x] = v;
}
