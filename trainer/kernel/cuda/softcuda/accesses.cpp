// Built into the checking library of kernels alone. g++ -fsanitize=thread calls these before each access to memory; ThreadSanitizer's own
// library, which knows operating-system threads and no blocks, is not linked.
#include <cstddef>
#include <cstdint>

#include "races.h"

#define HIDDEN extern "C" __attribute__((visibility("hidden")))
#define ACCESSES(n)                                                                                                 \
	HIDDEN void __tsan_read##n(void *p) { softcuda::touch(reinterpret_cast<uintptr_t>(p), n, softcuda::Touch::reads); }              \
	HIDDEN void __tsan_write##n(void *p) { softcuda::touch(reinterpret_cast<uintptr_t>(p), n, softcuda::Touch::writes); }              \
	HIDDEN void __tsan_unaligned_read##n(void *p) { softcuda::touch(reinterpret_cast<uintptr_t>(p), n, softcuda::Touch::reads); }    \
	HIDDEN void __tsan_unaligned_write##n(void *p) { softcuda::touch(reinterpret_cast<uintptr_t>(p), n, softcuda::Touch::writes); }

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

HIDDEN void __tsan_read_range(void *p, size_t n) { softcuda::touch(reinterpret_cast<uintptr_t>(p), n, softcuda::Touch::reads); }
HIDDEN void __tsan_write_range(void *p, size_t n) { softcuda::touch(reinterpret_cast<uintptr_t>(p), n, softcuda::Touch::writes); }
HIDDEN void __tsan_init() {}
HIDDEN void __tsan_func_entry(void *) {}
HIDDEN void __tsan_func_exit() {}
