// What a device does at best: a chain of fused multiply-adds in registers, to which nothing of a network is like but its arithmetic.
//
//   probe_fma   n threads with PROBE_CHAINS chains of `rounds` each, on numbers that stay finite; their sum y [n] keeps the compiler from leaving them out
//
// FLOPs: 2 PROBE_CHAINS rounds n. Bytes: 4 n.

#include "order.h"

// Chains of a thread: as many as hide the time of one multiply-add. trainer/kernel/cuda/probe.go has the same number.
enum { PROBE_CHAINS = 8 };

KERNEL(probe_fma, (float* y, int n, int rounds)) {
	int i = thread_number();
	if (i >= n) return;
	float v[PROBE_CHAINS], factor = 0.999f + 1e-9f * (float)i;
	for (int j = 0; j < PROBE_CHAINS; j++) v[j] = (float)j;
	for (int round = 0; round < rounds; round++)
		for (int j = 0; j < PROBE_CHAINS; j++) v[j] = __fmaf_rn(v[j], factor, 1.0f);
	float sum = 0.0f;
	for (int j = 0; j < PROBE_CHAINS; j++) sum += v[j];
	y[i] = sum;
}
