// What kernels of the arithmetic cuda-bf16/1 share. An activation of half precision lies as [images][ceil(C/16)][H][W][16] of bfloat16: a pixel has 16 channels in 32 bytes. Products are of bfloat16 numbers, sums are float32;
// a number is rounded where it is stored, and nowhere else.
//
// Batch normalisation. scale = gamma/sqrt(variance + epsilon), bias = beta - mean scale, each operation rounded once; norm(x) = fma(x, scale, bias), rounded to bfloat16.
//
// Sums over the pixels of a group have one order, a function of the shapes of one group, whoever computes them, fused to a convolution or not:
//
//   part   a rectangle of at most 256 pixels of an image's plane, of `rows` by `columns` (partsOf in half_parts.go); its pixels are numbered row by row
//   run    32 pixels of a part, one after the other. Lane l of 8 takes pixels l, l+8, l+16, l+24, as a chain; then lane l takes lane l+4, l+2, l+1
//   sum    of a part: its runs in the fixed tree (Tree, kernel.Split). Of a group: the parts of its first image, row by row of parts, then those of the next, in the fixed tree
//
// What is missing (beyond a part's end) is -0, which added to anything leaves it as it is: so a tree of any number of terms is one of a power of two, neighbours first.
//
// The sums of 16 channels are SUMS numbers: the terms' sums, then the products' sums. A block leaves those of its parts in the workspace, and the last block of a cell (CELL_PARTS neighbouring parts, a whole subtree) adds them up;
// where a group has more cells, the last of those does it with the cells (group_sums).
#pragma once

#include "order.h"
#include "tensor.h"

// Channels of a block of an activation.
enum { CHANNELS = 16 };

enum { RUN_PIXELS = 32, PART_PIXELS = 256, PART_RUNS = PART_PIXELS / RUN_PIXELS, SUMS = 2 * CHANNELS, CELL_PARTS = 256 };

// Division by a number that a launch knows: a/by = ((a + 1) magic) >> 32 with magic = (2^32 - 1)/by rounded down, for a >= 0 and (a + 1) by <= 2^32.
struct Divisor {
	int by;
	unsigned magic;

	__device__ Divisor(int by) : by(by), magic(0xffffffffu / (unsigned)by) {}
	__device__ Divisor(int by, int magic) : by(by), magic((unsigned)magic) {}
	__device__ int quotient(int a) const { return (int)(((unsigned long long)(unsigned)a * magic + magic) >> 32); }
	__device__ int remainder(int a) const { return a - quotient(a) * by; }
};

// What a missing term is.
DEVICE float nothing() { return -0.0f; }

DEVICE void unpack(uint2 v, float (&to)[4]) {
	to[0] = low_bf16(v.x), to[1] = high_bf16(v.x), to[2] = low_bf16(v.y), to[3] = high_bf16(v.y);
}

DEVICE void unpack(uint4 v, float (&to)[8]) {
	to[0] = low_bf16(v.x), to[1] = high_bf16(v.x), to[2] = low_bf16(v.y), to[3] = high_bf16(v.y);
	to[4] = low_bf16(v.z), to[5] = high_bf16(v.z), to[6] = low_bf16(v.w), to[7] = high_bf16(v.w);
}

DEVICE uint2 pack(const float (&v)[4]) { return make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3])); }

DEVICE uint4 pack(const float (&v)[8]) { return make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7])); }

// relu and the sum of pairs, and of vectors of pairs.
DEVICE unsigned half_relu(unsigned v) { return relu_pair(v); }
DEVICE unsigned half_add(unsigned a, unsigned b) { return add_pair(a, b); }

DEVICE uint4 half_relu(uint4 v) { return make_uint4(relu_pair(v.x), relu_pair(v.y), relu_pair(v.z), relu_pair(v.w)); }
DEVICE uint4 half_add(uint4 a, uint4 b) { return make_uint4(add_pair(a.x, b.x), add_pair(a.y, b.y), add_pair(a.z, b.z), add_pair(a.w, b.w)); }

// half_passed: a where v > 0, else 0.
DEVICE unsigned half_passed(unsigned v, unsigned a) { return (low_bf16(v) > 0.0f ? a & 0xffffu : 0u) | (high_bf16(v) > 0.0f ? a & 0xffff0000u : 0u); }
DEVICE uint4 half_passed(uint4 v, uint4 a) { return make_uint4(half_passed(v.x, a.x), half_passed(v.y, a.y), half_passed(v.z, a.z), half_passed(v.w, a.w)); }

// half_rstd is 1/sqrt(variance + epsilon), half_affine the scale and bias of norm.
DEVICE float half_rstd(float variance, float epsilon) { return __fdiv_rn(1.0f, __fsqrt_rn(variance + epsilon)); }

DEVICE float2 half_affine(float mean, float variance, float gamma, float beta, float epsilon) {
	float scale = gamma * half_rstd(variance, epsilon);
	return make_float2(scale, __fmaf_rn(-mean, scale, beta));
}

// half_norm is norm of 8 channels, rounded; affine at a multiple of 16 bytes.
DEVICE uint4 half_norm(uint4 x, const float2* affine) {
	float v[8];
	unpack(x, v);
	for (int i = 0; i < 8; i += 2) {
		float4 of = *(const float4*)(affine + i);
		v[i] = __fmaf_rn(v[i], of.x, of.y), v[i + 1] = __fmaf_rn(v[i + 1], of.z, of.w);
	}
	return pack(v);
}

// half_statistics ends the statistics of a channel: mean = shift + d, d = sum/count, and variance = squares/count - d^2, or 0 if that is less; the record is [2][C].
DEVICE void half_statistics(float sum, float squares, float shift, int count, float* mean, float* variance, float* record, int C) {
	float n = (float)count, d = __fdiv_rn(sum, n), v = __fmaf_rn(-d, d, __fdiv_rn(squares, n));
	if (v < 0.0f) v = 0.0f;
	*mean = record[0] = shift + d;
	*variance = v;
	record[C] = v * __fdiv_rn(n, n - 1.0f);
}

// The sum of 8 in the fixed tree.
DEVICE float tree_of_8(const float (&v)[8]) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

// A lane's share of the sums of a run of 16 channels, which is a warp's. Lane 4l + q takes channels 4q to 4q+3, 8 bytes, of the pixels l, l+8, l+16 and l+24: the warp's eight pixels lie side by side in memory.
struct RunSums {
	float terms[4], products[4];

	__device__ RunSums() {
		for (int i = 0; i < 4; i++) terms[i] = products[i] = nothing();
	}

	// take adds a pixel: a to the terms, a b to the products. Pixels come in ascending order; a missing one is left out.
	__device__ void take(const float (&a)[4], const float (&b)[4]) {
		for (int i = 0; i < 4; i++) {
			terms[i] += a[i];
			products[i] = __fmaf_rn(a[i], b[i], products[i]);
		}
	}

	static __device__ int pixel() { return (int)(threadIdx.x % 32) / 4; }
	static __device__ int channel() { return (int)(threadIdx.x % 4) * 4; }

	// number is which of SUMS numbers sum() gives to this lane.
	static __device__ int number() { return pixel() / 4 * CHANNELS + channel() + pixel() % 4; }

	// sum adds up the lanes of the warp, all of which call it. Each step halves the numbers that a lane has yet to add up: it gives away those of its partner's half.
	__device__ float sum() const {
		bool upper = pixel() & 4;
		float four[4], two[2];
		for (int i = 0; i < 4; i++) four[i] = (upper ? products[i] : terms[i]) + __shfl_xor_sync(~0u, upper ? terms[i] : products[i], 16);
		upper = pixel() & 2;
		for (int i = 0; i < 2; i++) two[i] = (upper ? four[i + 2] : four[i]) + __shfl_xor_sync(~0u, upper ? four[i] : four[i + 2], 8);
		upper = pixel() & 1;
		return (upper ? two[1] : two[0]) + __shfl_xor_sync(~0u, upper ? two[0] : two[1], 4);
	}
};

// The sum of a part from those of its runs, `step` numbers apart.
DEVICE float sum_of_runs(const float* runs, int n, int step) {
	float v[PART_RUNS];
	for (int i = 0; i < PART_RUNS; i++) v[i] = i < n ? runs[i * step] : nothing();
	return tree_of_8(v);
}

// Floats of shared memory that add_up and group_sums take for so many blocks of channels; the sums are at its beginning. One more number stands behind it: whether this block is the last.
#define GROUP_SUMS_SCRATCH(blocks) (2 * 8 * SUMS * (blocks) + 4)

// add_up adds up rows [n][SUMS] of each of `blocks` blocks of channels, `apart` floats apart, n <= 2048, into sums [blocks][SUMS] in shared memory, where the whole block sees them behind it. A warp takes 32 rows at a time,
// 16 bytes a lane: lane 8p + q has the rows 8p to 8p+7, numbers 4q to 4q+3.
DEVICE void add_up(const float* rows, int n, int apart, int blocks, float* sums) {
	const int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32;
	float* wholes = sums;                      // [8][blocks][SUMS], of 256 rows each
	float* chunks = sums + 8 * SUMS * blocks;  // [8][blocks][SUMS], of 32 rows each
	NOT_UNROLLED for (int whole = 0; whole * 256 < n; whole++) {
		int left = min(n - whole * 256, 256), count = ceil_div(left, 32);
		NOT_UNROLLED for (int unit = warp; unit < count * blocks; unit += warps) {
			int chunk = unit / blocks, block = unit % blocks, first = chunk * 32 + lane / 8 * 8;
			const float* from = rows + block * apart + (whole * 256 + first) * SUMS + lane % 8 * 4;
			float4 row[8];
			for (int i = 0; i < 8; i++) row[i] = first + i < left ? *(const float4*)(from + i * SUMS) : make_float4(nothing(), nothing(), nothing(), nothing());
			float v[4] = {tree_of_8({row[0].x, row[1].x, row[2].x, row[3].x, row[4].x, row[5].x, row[6].x, row[7].x}),
			              tree_of_8({row[0].y, row[1].y, row[2].y, row[3].y, row[4].y, row[5].y, row[6].y, row[7].y}),
			              tree_of_8({row[0].z, row[1].z, row[2].z, row[3].z, row[4].z, row[5].z, row[6].z, row[7].z}),
			              tree_of_8({row[0].w, row[1].w, row[2].w, row[3].w, row[4].w, row[5].w, row[6].w, row[7].w})};
			for (int i = 0; i < 4; i++) {
				v[i] += __shfl_xor_sync(~0u, v[i], 8);
				v[i] += __shfl_xor_sync(~0u, v[i], 16);
			}
			if (lane < 8)
				for (int i = 0; i < 4; i++) chunks[unit * SUMS + lane * 4 + i] = v[i];
		}
		BARRIER();
		NOT_UNROLLED for (int i = threadIdx.x; i < blocks * SUMS; i += blockDim.x) wholes[whole * blocks * SUMS + i] = sum_of_runs(chunks + i, count, blocks * SUMS);
		BARRIER();
	}
	if (n > 256) {
		NOT_UNROLLED for (int i = threadIdx.x; i < blocks * SUMS; i += blockDim.x) sums[i] = sum_of_runs(wholes + i, ceil_div(n, 256), blocks * SUMS);
		BARRIER();
	}
}

// is_last says whether all `of` blocks that share the counter have come here, this one being the last; then it sees what they wrote. The whole block calls it.
DEVICE bool is_last(int* counter, int of, int* flag) {
	BARRIER();
	if (threadIdx.x == 0) {  // its fences do for the block, on this side of a barrier
		fence();
		*flag = add_ticket(counter) == of - 1;
		fence();
		if (*flag) *counter = 0;
	}
	BARRIER();
	return *flag;
}

// The sums of a group on their way through the workspace, of a slice of its blocks of channels that one block of threads has at a time.
struct GroupSums {
	float* parts;   // [blocks of channels][parts][SUMS] of the group, from the slice's first block of channels on
	float* cells;   // the same of cells
	int* counters;  // of the group and the slice: one of each cell, then one of the cells; zeros between launches
	int n;          // parts of the group
	int share;      // parts that a block of threads has, the last of a cell perhaps fewer; divides CELL_PARTS
	int blocks;     // blocks of channels of the slice
};

// group_sums is called by the whole block when it has put its share of the parts, the first of which is `part`, into the workspace. In the group's last block it gives true, and sums [blocks][SUMS] in shared memory
// (GROUP_SUMS_SCRATCH) are the group's.
DEVICE bool group_sums(const GroupSums& s, int part, float* sums) {
	int* flag = (int*)(sums + 2 * 8 * SUMS * s.blocks);
	int cells = ceil_div(s.n, CELL_PARTS), cell = part / CELL_PARTS, of = min(s.n - cell * CELL_PARTS, CELL_PARTS);
	if (!is_last(s.counters + cell, ceil_div(of, s.share), flag)) return false;
	add_up(s.parts + cell * CELL_PARTS * SUMS, of, s.n * SUMS, s.blocks, sums);
	if (cells == 1) return true;
	NOT_UNROLLED for (int i = threadIdx.x; i < s.blocks * SUMS; i += blockDim.x) s.cells[(i / SUMS * cells + cell) * SUMS + i % SUMS] = sums[i];
	if (!is_last(s.counters + cells, cells, flag)) return false;
	add_up(s.cells, cells, cells * SUMS, s.blocks, sums);
	return true;
}
