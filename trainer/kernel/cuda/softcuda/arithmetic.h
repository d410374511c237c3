// CUDA's arithmetic intrinsics, round to nearest even, with the bits that a GPU gives. Built with -ffp-contract=off, so that a
// product and a sum stay two roundings, and -mfma, so that std::fma is the instruction.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef __FMA__
#error "compile with -mfma: a fused multiply-add in software is far too slow"
#endif

#define SOFTCUDA_INLINE static inline __attribute__((always_inline))

SOFTCUDA_INLINE float __fadd_rn(float a, float b) { return a + b; }
SOFTCUDA_INLINE float __fsub_rn(float a, float b) { return a - b; }
SOFTCUDA_INLINE float __fmul_rn(float a, float b) { return a * b; }
SOFTCUDA_INLINE float __fdiv_rn(float a, float b) { return a / b; }
SOFTCUDA_INLINE float __frcp_rn(float a) { return 1.0f / a; }
SOFTCUDA_INLINE float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
SOFTCUDA_INLINE float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
SOFTCUDA_INLINE double __dadd_rn(double a, double b) { return a + b; }
SOFTCUDA_INLINE double __dsub_rn(double a, double b) { return a - b; }
SOFTCUDA_INLINE double __dmul_rn(double a, double b) { return a * b; }
SOFTCUDA_INLINE double __ddiv_rn(double a, double b) { return a / b; }
SOFTCUDA_INLINE double __dsqrt_rn(double a) { return __builtin_sqrt(a); }
SOFTCUDA_INLINE double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }

SOFTCUDA_INLINE float __double2float_rn(double a) { return static_cast<float>(a); }
SOFTCUDA_INLINE float __int2float_rn(int a) { return static_cast<float>(a); }
SOFTCUDA_INLINE float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
SOFTCUDA_INLINE double __int2double_rn(int a) { return a; }

// To an integer as a GPU does it: beyond the range to its end, NaN to 0 (a CPU gives the smallest number for all of these).
SOFTCUDA_INLINE int softcuda_to_int(double rounded) {
	if (!(rounded == rounded)) return 0;
	return rounded >= 2147483647.0 ? INT32_MAX : rounded <= -2147483648.0 ? INT32_MIN : static_cast<int>(rounded);
}
SOFTCUDA_INLINE int __float2int_rn(float a) { return softcuda_to_int(__builtin_rint(a)); }
SOFTCUDA_INLINE int __float2int_rz(float a) { return softcuda_to_int(__builtin_trunc(a)); }
SOFTCUDA_INLINE int __float2int_rd(float a) { return softcuda_to_int(__builtin_floor(a)); }
SOFTCUDA_INLINE int __double2int_rn(double a) { return softcuda_to_int(__builtin_rint(a)); }

namespace softcuda {
template <typename To, typename From> SOFTCUDA_INLINE To bits(From from) {
	static_assert(sizeof(To) == sizeof(From), "bits keeps the size");
	To to;
	std::memcpy(&to, &from, sizeof to);
	return to;
}
}  // namespace softcuda

SOFTCUDA_INLINE int __float_as_int(float a) { return softcuda::bits<int>(a); }
SOFTCUDA_INLINE unsigned __float_as_uint(float a) { return softcuda::bits<unsigned>(a); }
SOFTCUDA_INLINE float __int_as_float(int a) { return softcuda::bits<float>(a); }
SOFTCUDA_INLINE float __uint_as_float(unsigned a) { return softcuda::bits<float>(a); }
SOFTCUDA_INLINE long long __double_as_longlong(double a) { return softcuda::bits<long long>(a); }
SOFTCUDA_INLINE double __longlong_as_double(long long a) { return softcuda::bits<double>(a); }

SOFTCUDA_INLINE unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
SOFTCUDA_INLINE int __popc(unsigned a) { return __builtin_popcount(a); }
SOFTCUDA_INLINE int __clz(int a) { return a ? __builtin_clz(static_cast<unsigned>(a)) : 32; }
SOFTCUDA_INLINE int __ffs(int a) { return __builtin_ffs(a); }

template <typename T> SOFTCUDA_INLINE T __ldg(const T *p) { return *p; }

SOFTCUDA_INLINE int min(int a, int b) { return a < b ? a : b; }
SOFTCUDA_INLINE int max(int a, int b) { return a > b ? a : b; }
SOFTCUDA_INLINE unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
SOFTCUDA_INLINE unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
SOFTCUDA_INLINE long long min(long long a, long long b) { return a < b ? a : b; }
SOFTCUDA_INLINE long long max(long long a, long long b) { return a > b ? a : b; }
SOFTCUDA_INLINE float min(float a, float b) { return __builtin_fminf(a, b); }
SOFTCUDA_INLINE float max(float a, float b) { return __builtin_fmaxf(a, b); }
