// What a kernel is written in: CUDA C++ with the few words below, so that one source is compiled by nvcc for a GPU and by g++
// for softcuda (../softcuda), where a thread of a block is a function call.
//
//   KERNEL(name, (const float *x, float *y, int n)) { ... }    parameters: device pointers, ints, floats; no structs
//   KERNEL_BOUNDS(name, threads, (...)) { ... }                at most so many threads a block, for the register allocator
//   KERNEL_RESIDENT(name, threads, blocks, (...)) { ... }      and with registers for so many such blocks on a multiprocessor
//   SHARED(float, tile, 256);                                  a block's array at a multiple of 16 bytes, uninitialised; 48 KiB a kernel in all
//   SHARED_DYNAMIC(float, tiles);                              the one array whose bytes the launch gives, at a multiple of 128
//   DEVICE float square(float x) { ... }                       a function that kernels call
//   BARRIER();                                                 __syncthreads(), every thread of the block
//   UNROLL for (...)                                           a loop that must be unrolled, for what it indexes to stay in registers
//   NOT_UNROLLED for (...)                                     a loop of few turns that is to stay one: instructions have a cache too
//   COMPUTED(i);                                               an int is computed here and once; compilers prefer to do it again wherever it is used
//   DEVICE_TABLE float weights[4] = {...};                     constants
//
// Arithmetic is explicit, so that both compilers give the same bits: a fused multiply-add is __fmaf_rn, and a * b + c is two
// roundings (nvcc -fmad=false -prec-div=true -prec-sqrt=true -ftz=false, g++ -ffp-contract=off -mfma). A table of expf, logf
// and the like differs between libraries: kernels have their own polynomials.
#pragma once

#ifdef SOFTCUDA

#include "../softcuda/twin.h"

#else

#define KERNEL(name, parameters) extern "C" __global__ void name parameters
#define KERNEL_BOUNDS(name, threads, parameters) extern "C" __global__ void __launch_bounds__(threads) name parameters
#define KERNEL_RESIDENT(name, threads, blocks, parameters) extern "C" __global__ void __launch_bounds__(threads, blocks) name parameters
#define SHARED(type, name, n) __shared__ __align__(16) type name[n]
#define SHARED_DYNAMIC(type, name)                                         \
	extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[]; \
	type *const name = reinterpret_cast<type *>(dynamic_shared_bytes)
#define DEVICE static __device__ __forceinline__
#define DEVICE_TABLE static __constant__ const
#define BARRIER() __syncthreads()
#define UNROLL _Pragma("unroll")
#define NOT_UNROLLED _Pragma("unroll 1")
#define COMPUTED(i) asm volatile("" : "+r"(i))

#endif
