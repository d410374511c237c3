// Two kernels of src with a fault planted in each, under their own names.
#include "device.h"

// Each thread writes an element too far.
KERNEL(relu, (const float *x, float *y, int n)) {
	const int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) y[i + 1] = x[i] < 0.0f ? 0.0f : x[i];
}

// Each thread adds what its neighbour has read, and no barrier makes sure that it has.
KERNEL(add, (const float *a, const float *b, float *y, int n)) {
	SHARED(float, read, 128);
	const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
	if (i >= n) return;
	read[t] = b[i];
	y[i] = a[i] + read[t ^ 1];
}
