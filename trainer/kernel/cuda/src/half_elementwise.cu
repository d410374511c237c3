// From number to number in half precision; a thread does one.
//
//   half_gather   y = x[index] rounded, 0 where index < 0: packs the weights of all convolutions, n of them
//
// FLOPs: none. Bytes: 10 a number.

#include "half.h"

KERNEL(half_gather, (const float* x, const int* index, bf16* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = index[i] < 0 ? 0 : float_bf16(x[index[i]]);
}
