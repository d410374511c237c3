// The words of ../src/tensor.h as C++ for the CPU. Where a word stands is told by the defaults of file and line, which the compiler takes from the call.
#pragma once

#include "twin.h"

namespace softcuda {

// A lane's registers of a product, d[4] += a[4] b[2]; all 32 lanes of its warp call it.
void warp_product(float *d, const unsigned *a, const unsigned *b, const char *file, int line);
// A lane's n registers of n matrices of 8 by 8, and the address of the row that it stands for.
void warp_load(unsigned *r, int n, const void *row, bool transposed, const char *file, int line);
// The copies of a thread: see copies.cpp.
void begin_copy(void *shared, const void *global, bool copy, const char *file, int line);
void commit_copies();
void wait_for_copies(int newest);
// A ticket, and a fence: see tickets.cpp.
int take_ticket(int *counter, const char *file, int line);
void pass_fence();

}  // namespace softcuda

typedef unsigned short bf16;

DEVICE bf16 float_bf16(float v) {
	const unsigned bits = __float_as_uint(v);
	if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
	return static_cast<bf16>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

DEVICE unsigned pack_bf16(float low, float high) { return float_bf16(low) | static_cast<unsigned>(float_bf16(high)) << 16; }

namespace softcuda {
inline float number(unsigned bits) { return __uint_as_float(bits << 16); }
inline unsigned relu_number(unsigned bits) { return (bits & 0x7fff) > 0x7f80 ? 0x7fff : bits & 0x8000 ? 0 : bits; }
}  // namespace softcuda

DEVICE unsigned relu_pair(unsigned pair) { return ::softcuda::relu_number(pair & 0xffff) | ::softcuda::relu_number(pair >> 16) << 16; }

// Rounded to float first, which no sum of two bf16 numbers shows: where it is not exact, the smaller number is too small to make a tie.
DEVICE unsigned add_pair(unsigned a, unsigned b) { return pack_bf16(::softcuda::number(a) + ::softcuda::number(b), ::softcuda::number(a >> 16) + ::softcuda::number(b >> 16)); }

#define SOFTCUDA_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

DEVICE void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], SOFTCUDA_PLACE) { ::softcuda::warp_product(d, a, b, file, line); }

DEVICE void load_matrices(unsigned (&r)[4], const void *row, SOFTCUDA_PLACE) { ::softcuda::warp_load(r, 4, row, false, file, line); }
DEVICE void load_matrices(unsigned (&r)[2], const void *row, SOFTCUDA_PLACE) { ::softcuda::warp_load(r, 2, row, false, file, line); }
DEVICE void load_matrices_transposed(unsigned (&r)[4], const void *row, SOFTCUDA_PLACE) { ::softcuda::warp_load(r, 4, row, true, file, line); }
DEVICE void load_matrices_transposed(unsigned (&r)[2], const void *row, SOFTCUDA_PLACE) { ::softcuda::warp_load(r, 2, row, true, file, line); }

DEVICE void copy_async(void *shared, const void *global, SOFTCUDA_PLACE) { ::softcuda::begin_copy(shared, global, true, file, line); }
DEVICE void copy_async_or_zero(void *shared, const void *global, bool copy, SOFTCUDA_PLACE) { ::softcuda::begin_copy(shared, global, copy, file, line); }
DEVICE void copy_async_commit() { ::softcuda::commit_copies(); }
template <int n> DEVICE void copy_async_wait() { ::softcuda::wait_for_copies(n); }

DEVICE int add_ticket(int *counter, SOFTCUDA_PLACE) { return ::softcuda::take_ticket(counter, file, line); }
DEVICE void fence() { ::softcuda::pass_fence(); }
