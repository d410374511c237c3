// The words for tensor cores: bf16 numbers, products of matrices by a warp, copies into shared memory that go on beside arithmetic, and tickets. All inline PTX stands here; for softcuda the words are
// ../softcuda/tensor_twin.h. Layouts are those of the PTX manual ("Matrix Fragments for mma.m16n8k16 with floating point type", "ldmatrix", "cp.async").
//
//   bf16                                     the bits of a bfloat16
//   bf16_float(v)  float_bf16(v)             to float; to bf16, to nearest even, every NaN becoming 0x7fff
//   pack_bf16(low, high)                     two floats as bf16: low in bits 0..15, high in bits 16..31
//   low_bf16(u)  high_bf16(u)                of such a pair
//   relu_pair(u)  add_pair(u, v)             of such pairs: +0 where a number is below or -0, NaN where it is NaN; the sums, rounded once
//   mma_bf16(d, a, b)                        d[16][8] += a[16][16] b[16][8]
//   load_matrices(r, row)                    4 or 2 matrices of 8 by 8 bf16 from shared memory, as mma_bf16 wants them
//   load_matrices_transposed(r, row)         each of them transposed
//   copy_async(shared, global)               16 bytes, both addresses multiples of 16, past the first-level cache and the registers
//   copy_async_or_zero(shared, global, copy) the same, or 16 bytes of zeros where !copy: global is not read then, but must be an address that may be
//   copy_async_commit()                      what this thread began since the last one is a group
//   copy_async_wait<n>()                     until at most the newest n groups of this thread are under way
//   add_ticket(counter)                      counter in device memory goes up by one; what it was
//   fence()                                  what this thread sees done before is done before what it does next, for every block
//
// mma_bf16 and load_matrices are the whole warp's: all 32 lanes call them together. With g = lane/4 and t = lane%4, a lane holds, each register a pair with the smaller column (of b: the smaller row)
// in its low half:
//
//   a[0]  row g,   columns 2t, 2t+1          b[0]  rows 2t, 2t+1,   column g        d[0], d[1]  row g,   columns 2t, 2t+1
//   a[1]  row g+8, columns 2t, 2t+1          b[1]  rows 2t+8, 2t+9, column g        d[2], d[3]  row g+8, columns 2t, 2t+1
//   a[2]  row g,   columns 2t+8, 2t+9
//   a[3]  row g+8, columns 2t+8, 2t+9
//
// load_matrices: the address that lane 8i+j gives is that of row j of matrix i, 16 bytes of shared memory at a multiple of 16; of two matrices the addresses of lanes 16 to 31 are not looked at. r[i] is
// row g, columns 2t and 2t+1 of matrix i; transposed: rows 2t and 2t+1, column g. So with tiles in shared memory whose rows are multiples of 16 bytes
//
//   a from tile[m][k]:  load_matrices(a, &tile[lane % 16][lane / 16 * 8])          from tile[k][m]:  load_matrices_transposed(a, &tile[lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8])
//   b from tile[n][k]:  load_matrices(b, &tile[lane % 8][lane / 8 % 2 * 8])        from tile[k][n]:  load_matrices_transposed(b, &tile[lane % 16][0])
//
// and four registers are b for two neighbouring blocks of 8 columns: the rows of lanes 16 to 31 are the second block's.
//
// How the 16 products and d are rounded as they are added up is the tensor core's own affair: no two kinds of GPU need agree, nor does softcuda with any. On one kind it is always the same.
//
// A copy's bytes are there for the thread that began it behind its copy_async_wait, and for others behind a barrier that follows. The last block of a group adds up what all have written so:
//
//   ... parts[block] = ...;  fence();  BARRIER();
//   if (threadIdx.x == 0) last[0] = add_ticket(counter) == blocks - 1;
//   BARRIER();
//   if (last[0]) { fence(); ... the parts, in their order ...; if (threadIdx.x == 0) *counter = 0; }
//
// More than 48 KiB of SHARED_DYNAMIC has to be allowed to the kernel (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES): 227 KiB at most on compute capability 9.0, 163 KiB on 8.0, SHARED arrays included.
#pragma once

#include "device.h"

#ifdef SOFTCUDA

#include "../softcuda/tensor_twin.h"

#else

typedef unsigned short bf16;

DEVICE bf16 float_bf16(float v) {
	bf16 r;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(v));
	return r;
}

DEVICE unsigned pack_bf16(float low, float high) {
	unsigned r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
	return r;
}

DEVICE unsigned relu_pair(unsigned pair) {
	unsigned r;
	asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(pair), "r"(0));
	return r;
}

DEVICE unsigned add_pair(unsigned a, unsigned b) {
	unsigned r;
	asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(0x3f803f80), "r"(b));  // a 1 + b
	return r;
}

DEVICE void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

DEVICE void load_matrices(unsigned (&r)[4], const void* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

DEVICE void load_matrices(unsigned (&r)[2], const void* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}

DEVICE void load_matrices_transposed(unsigned (&r)[4], const void* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

DEVICE void load_matrices_transposed(unsigned (&r)[2], const void* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}

DEVICE void copy_async(void* shared, const void* global) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)) : "memory");
}

DEVICE void copy_async_or_zero(void* shared, const void* global, bool copy) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(copy ? 16 : 0) : "memory");
}

DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int n>
DEVICE void copy_async_wait() {
	asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

DEVICE int add_ticket(int* counter) { return atomicAdd(counter, 1); }

// Release and acquire are enough for tickets; __threadfence is sequentially consistent, and slower.
DEVICE void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

#endif

DEVICE float bf16_float(bf16 v) { return __uint_as_float((unsigned)v << 16); }

DEVICE float low_bf16(unsigned pair) { return __uint_as_float(pair << 16); }

DEVICE float high_bf16(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }
