// The words of ../src/device.h, and CUDA's built-in ones, as C++ for the CPU. A .cu file sees this header alone.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#include "vector.h"

namespace softcuda {

// Where the thread that runs now stands. One launch runs at a time in a process, so that these are plain variables.
struct Place {
	uint3 thread, block, block_dim, grid_dim;
};
extern Place place;

// A kernel of the .cu files: run takes one thread through it.
struct Kernel {
	const char *name;
	void (*run)(void **params);
	const size_t *param_sizes;
	int params;
	int max_threads;
};
void add_kernel(const Kernel &kernel);

// An array in a block's shared memory: one for each SHARED in the source. Its bytes are poisoned when a block begins.
struct Shared {
	const char *name;
	size_t bytes;
	void *base;
	uint64_t block;   // the serial number of the block that it was poisoned for
	uint64_t launch;  // and of the launch that counted its bytes
};
extern uint64_t block_serial;
void enter_shared(Shared *array);
void *dynamic_shared();

void barrier(const char *file, int line);
void warp_barrier(uint32_t mask, const char *file, int line);

// How a lane of a warp finds the lane that it reads from.
enum class Lane { index, up, down, exclusive };
// All lanes of mask hand in value; each gets the value of the lane that (how, by) names within its group of width lanes.
uint64_t warp_exchange(uint32_t mask, uint64_t value, Lane how, int by, int width, const char *file, int line);
// All lanes of mask hand in predicate; each gets the lanes for which it held.
uint32_t warp_ballot(uint32_t mask, bool predicate, const char *file, int line);

template <typename F> struct Parameters;
template <typename... A> struct Parameters<void (*)(A...)> {
	static constexpr size_t sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
	template <void (*f)(A...), size_t... i> static void spread(void **params, std::index_sequence<i...>) {
		(void)params;
		f(*static_cast<A *>(params[i])...);
	}
	template <void (*f)(A...)> static void run(void **params) { spread<f>(params, std::index_sequence_for<A...>{}); }
	template <void (*f)(A...)> static Kernel kernel(const char *name, int max_threads) {
		return {name, run<f>, sizes, int(sizeof...(A)), max_threads};
	}
};

struct Registration {
	explicit Registration(const Kernel &kernel) { add_kernel(kernel); }
};

template <typename T> T exchange(uint32_t mask, T value, Lane how, int by, int width, const char *file, int line) {
	static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
	uint64_t bits = 0;
	std::memcpy(&bits, &value, sizeof value);
	bits = warp_exchange(mask, bits, how, by, width, file, line);
	std::memcpy(&value, &bits, sizeof value);
	return value;
}

}  // namespace softcuda

#define KERNEL(name, parameters) KERNEL_BOUNDS(name, 1024, parameters)
#define KERNEL_BOUNDS(name, threads, parameters)                                                                            \
	static void name parameters;                                                                                            \
	static const ::softcuda::Registration name##_registration{                                                             \
	    ::softcuda::Parameters<decltype(&name)>::kernel<&name>(#name, threads)};                                           \
	static void name parameters
#define KERNEL_RESIDENT(name, threads, blocks, parameters) KERNEL_BOUNDS(name, threads, parameters)
#define SHARED(type, name, n)                                                                                               \
	static ::softcuda::Shared name##_array{#name, sizeof(type) * (n), nullptr, 0, 0};                                          \
	if (name##_array.block != ::softcuda::block_serial) ::softcuda::enter_shared(&name##_array);                            \
	type *const name = static_cast<type *>(name##_array.base)
#define SHARED_DYNAMIC(type, name) type *const name = static_cast<type *>(::softcuda::dynamic_shared())
#define DEVICE static inline __attribute__((always_inline))
#define DEVICE_TABLE static const
#define UNROLL
#define NOT_UNROLLED
#define COMPUTED(i) (void)(i)
#define BARRIER() ::softcuda::barrier(__FILE__, __LINE__)

#define threadIdx (::softcuda::place.thread)
#define blockIdx (::softcuda::place.block)
#define blockDim (::softcuda::place.block_dim)
#define gridDim (::softcuda::place.grid_dim)
static constexpr int warpSize = 32;

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __syncthreads() BARRIER()
#define __syncwarp(...) ::softcuda::warp_barrier(::softcuda::mask_of(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_sync(mask, value, lane, ...)                                                                                 \
	::softcuda::exchange(mask, value, ::softcuda::Lane::index, lane, ::softcuda::width_of(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, by, ...)                                                                                \
	::softcuda::exchange(mask, value, ::softcuda::Lane::up, by, ::softcuda::width_of(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, by, ...)                                                                              \
	::softcuda::exchange(mask, value, ::softcuda::Lane::down, by, ::softcuda::width_of(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, by, ...)                                                                               \
	::softcuda::exchange(mask, value, ::softcuda::Lane::exclusive, by, ::softcuda::width_of(__VA_ARGS__), __FILE__, __LINE__)
#define __ballot_sync(mask, predicate) ::softcuda::warp_ballot(mask, (predicate) != 0, __FILE__, __LINE__)
#define __any_sync(mask, predicate) (__ballot_sync(mask, predicate) != 0)
#define __all_sync(mask, predicate) (__ballot_sync(mask, !(predicate)) == 0)

namespace softcuda {
constexpr uint32_t mask_of(uint32_t mask = 0xffffffffu) { return mask; }
constexpr int width_of(int width = 32) { return width; }
}  // namespace softcuda

#include "arithmetic.h"
