// What a device does at best: chains of products and sums in registers, to which nothing of a network is like but its arithmetic.
//
//   probe_fma      n threads with PROBE_CHAINS chains of `rounds` fused multiply-adds each, on numbers that stay finite; their sum y [n] keeps the compiler from leaving them out
//   probe_tensor   the same of a warp's products of 16 by 16 and 16 by 8 bf16 on tensor cores; n is whole warps
//
// FLOPs: 2 PROBE_CHAINS rounds n; of probe_tensor 4096 PROBE_CHAINS rounds n/32. Bytes: 4 n.

#include "order.h"
#include "tensor.h"

// Chains of a thread: as many as hide the time of one link. trainer/kernel/cuda/probe.go has the same number.
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

KERNEL(probe_tensor, (float* y, int n, int rounds)) {
	int i = thread_number();
	if (i >= n) return;
	float d[PROBE_CHAINS][4];
	unsigned a[4], b[2];
	for (int j = 0; j < 4; j++) a[j] = pack_bf16(0.01f * (float)(i % 7), 0.01f * (float)(j + 1));
	for (int j = 0; j < 2; j++) b[j] = pack_bf16(0.01f * (float)(i % 5), -0.01f * (float)(j + 1));
	for (int j = 0; j < PROBE_CHAINS; j++)
		for (int k = 0; k < 4; k++) d[j][k] = (float)(j + k);
	for (int round = 0; round < rounds; round++)
		for (int j = 0; j < PROBE_CHAINS; j++) mma_bf16(d[j], a, b);
	float sum = 0.0f;
	for (int j = 0; j < PROBE_CHAINS; j++) sum += (d[j][0] + d[j][1]) + (d[j][2] + d[j][3]);
	y[i] = sum;
}
