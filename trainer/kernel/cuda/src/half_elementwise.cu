// From number to number in half precision; a thread does 8 in 16 bytes, n times.
//
//   half_relu       y = 0 where x < 0, else x
//   half_relu_grad  dx = dy where y > 0, else 0; an image has `image` vectors, and `repeat` images of dy in a row belong to one of y
//   half_add        y = a + b
//   half_zero       y = 0
//   half_gather     y = x[index] rounded, 0 where index < 0: packs the weights of all convolutions; a thread does one of n numbers
//
// FLOPs: 0 or 1 a number. Bytes: 2 for each number that is read or written; 10 a number of half_gather.

#include "half.h"

KERNEL(half_gather, (const float* x, const int* index, bf16* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = index[i] < 0 ? 0 : float_bf16(x[index[i]]);
}

KERNEL(half_relu_forward, (const uint4* x, uint4* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = half_relu(x[i]);
}

KERNEL(half_relu_grad, (const uint4* dy, const uint4* y, uint4* dx, int n, int image, int repeat)) {
	int i = thread_number();
	if (i < n) dx[i] = half_passed(y[i / image / repeat * image + i % image], dy[i]);
}

KERNEL(half_add_forward, (const uint4* a, const uint4* b, uint4* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = half_add(a[i], b[i]);
}

KERNEL(half_zero, (uint4* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = make_uint4(0, 0, 0, 0);
}
