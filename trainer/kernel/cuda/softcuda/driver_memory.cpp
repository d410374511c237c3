// Device memory and pinned host memory.
#include <cstdlib>
#include <cstring>
#include <map>

#include <sys/mman.h>

#include "driver.h"
#include "memory.h"

using namespace softcuda;

namespace {
// Host memory by its address: allocated here, or only registered.
struct Host {
	size_t bytes;
	bool registered;
	CUcontext owner;
};
std::map<void *, Host> hosts;

constexpr size_t page = 4096;
size_t whole_pages(size_t bytes) { return (bytes + page - 1) / page * page; }
}  // namespace

void softcuda::forget_hosts(CUcontext context) {
	for (auto at = hosts.begin(); at != hosts.end();) {
		const auto &[pointer, host] = *at;
		if (host.owner != context) {
			++at;
			continue;
		}
		if (!host.registered) mprotect(pointer, whole_pages(host.bytes), PROT_NONE);  // never given out again: who still reads it faults
		at = hosts.erase(at);
	}
}

// Memory may be made and given back in the middle of a relaxed capture alone, and is then no part of its graph.
#define ENTER_MEMORY()                             \
	ENTER_CONTEXT();                               \
	const CUresult allowed = unsafe_call();        \
	if (allowed != CUDA_SUCCESS) return allowed

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
	ENTER_MEMORY();
	if (!pointer || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
	const size_t used = used_bytes(context->device);
	if (used > device_bytes() || bytes > device_bytes() - used) return CUDA_ERROR_OUT_OF_MEMORY;
	const Allocation *a = allocate(bytes, context->device, context, nullptr);
	if (!a) return CUDA_ERROR_OUT_OF_MEMORY;
	*pointer = a->base;
	return CUDA_SUCCESS;
}

CUresult cuMemFree(CUdeviceptr pointer) {
	ENTER_MEMORY();
	if (!pointer) return CUDA_SUCCESS;
	// What is enqueued may use it.
	const CUresult error = finish(context);
	if (error != CUDA_SUCCESS) return error;
	Allocation *a = starting(pointer);
	if (!a) {
		say("cuMemFree of " + describe(pointer) + (nearest(pointer) && nearest(pointer)->freed ? " before" : ": it is not where an allocation starts"));
		return CUDA_ERROR_INVALID_VALUE;
	}
	std::string what;
	if (overwritten(&what)) {
		say("something wrote " + what);
		return context->error = CUDA_ERROR_ILLEGAL_ADDRESS;
	}
	release(a);
	return CUDA_SUCCESS;
}

CUresult cuMemGetInfo(size_t *free, size_t *total) {
	ENTER_CONTEXT();
	if (!free || !total) return CUDA_ERROR_INVALID_VALUE;
	*total = device_bytes();
	*free = device_bytes() - used_bytes(context->device);
	return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
	ENTER_CONTEXT();
	const Allocation *a = holding(pointer, 1);
	if (!a) return CUDA_ERROR_NOT_FOUND;
	if (base) *base = a->base;
	if (bytes) *bytes = a->bytes;
	return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
	ENTER_MEMORY();
	if (!pointer || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
	if (posix_memalign(pointer, page, whole_pages(bytes)) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
	std::memset(*pointer, poison, bytes);
	hosts[*pointer] = {bytes, false, context};
	return CUDA_SUCCESS;
}

CUresult cuMemAllocHost(void **pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

CUresult cuMemFreeHost(void *pointer) {
	ENTER_MEMORY();
	const auto found = hosts.find(pointer);
	if (found == hosts.end() || found->second.registered) return CUDA_ERROR_INVALID_VALUE;
	const CUresult error = finish(context);
	hosts.erase(found);
	std::free(pointer);
	return error;
}

CUresult cuMemHostRegister(void *pointer, size_t bytes, unsigned) {
	ENTER_MEMORY();
	if (!pointer || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
	if (!hosts.emplace(pointer, Host{bytes, true, context}).second) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void *pointer) {
	ENTER_MEMORY();
	const auto found = hosts.find(pointer);
	if (found == hosts.end() || !found->second.registered) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	const CUresult error = finish(context);
	hosts.erase(found);
	return error;
}
