// Copies and fills. A copy without a stream waits for what is enqueued, and is done when it returns.
#include <cstring>

#include "driver.h"
#include "memory.h"

namespace softcuda {

bool copyable(CUdeviceptr address, size_t bytes, const char *call, const char *what) {
	if (bytes == 0 || holding(address, bytes)) return true;
	say(std::string(call) + ": its " + what + ", " + std::to_string(bytes) + " bytes, begins at " + describe(address) + " and is not all of one allocation");
	return false;
}

namespace {
enum Side { host, device, either };

bool fits(CUdeviceptr address, size_t bytes, Side side, const char *call, const char *what) {
	if (side == host || (side == either && !in_arena(address))) return bytes == 0 || address != 0;
	return copyable(address, bytes, call, what);
}

// A call without a stream goes to the legacy one, and waits for it.
CUresult wait_for_all(CUcontext context) {
	const CUresult implied = on_legacy(nullptr, context);
	const CUresult allowed = implied == CUDA_SUCCESS ? unsafe_call() : implied;
	return allowed == CUDA_SUCCESS ? finish(context) : allowed;
}

CUresult copy(const char *call, CUdeviceptr to, Side to_side, CUdeviceptr from, Side from_side, size_t bytes, CUcontext context, CUstream stream, bool waits) {
	if (!fits(to, bytes, to_side, call, "destination") || !fits(from, bytes, from_side, call, "source")) return CUDA_ERROR_INVALID_VALUE;
	const auto move = [=] {
		// It may have been freed since the call.
		if (!fits(to, bytes, to_side, call, "destination") || !fits(from, bytes, from_side, call, "source")) return CUDA_ERROR_ILLEGAL_ADDRESS;
		std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
		return CUDA_SUCCESS;
	};
	if (!waits) return enqueue(stream, CU_GRAPH_NODE_TYPE_MEMCPY, move);
	const CUresult error = wait_for_all(context);
	return error == CUDA_SUCCESS ? move() : error;
}

template <typename T> CUresult fill(const char *call, CUdeviceptr to, T value, size_t n, CUcontext context, CUstream stream, bool waits) {
	if (to % sizeof(T) != 0 || !copyable(to, n * sizeof(T), call, "destination")) return CUDA_ERROR_INVALID_VALUE;
	const auto set = [=] {
		if (!copyable(to, n * sizeof(T), call, "destination")) return CUDA_ERROR_ILLEGAL_ADDRESS;
		T *elements = reinterpret_cast<T *>(to);
		for (size_t i = 0; i < n; i++) elements[i] = value;
		return CUDA_SUCCESS;
	};
	if (!waits) return enqueue(stream, CU_GRAPH_NODE_TYPE_MEMSET, set);
	const CUresult error = wait_for_all(context);
	return error == CUDA_SUCCESS ? set() : error;
}
}  // namespace

}  // namespace softcuda

using namespace softcuda;

static CUdeviceptr address_of(CUdeviceptr p) { return p; }
static CUdeviceptr address_of(const void *p) { return reinterpret_cast<CUdeviceptr>(p); }

#define COPY(name, asynchronous, to_type, to_side, from_type, from_side)                                            \
	CUresult name(to_type to, from_type from, size_t bytes) {                                                        \
		ENTER_CONTEXT();                                                                                             \
		return copy(__func__, address_of(to), to_side, address_of(from), from_side, bytes, context, nullptr, true);  \
	}                                                                                                                \
	CUresult asynchronous(to_type to, from_type from, size_t bytes, CUstream stream) {                               \
		ENTER_CONTEXT();                                                                                             \
		return copy(__func__, address_of(to), to_side, address_of(from), from_side, bytes, context, stream, false);  \
	}

COPY(cuMemcpy, cuMemcpyAsync, CUdeviceptr, either, CUdeviceptr, either)
COPY(cuMemcpyHtoD, cuMemcpyHtoDAsync, CUdeviceptr, device, const void *, host)
COPY(cuMemcpyDtoH, cuMemcpyDtoHAsync, void *, host, CUdeviceptr, device)
COPY(cuMemcpyDtoD, cuMemcpyDtoDAsync, CUdeviceptr, device, CUdeviceptr, device)

// Each side must be memory of the context that is named with it.
static CUresult peers(const char *call, CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes) {
	if (!alive(to_context) || !alive(from_context)) return CUDA_ERROR_INVALID_CONTEXT;
	const auto belongs = [=](CUdeviceptr address, CUcontext context, const char *what) {
		const Allocation *a = holding(address, bytes);
		if (!a || a->owner == context) return true;  // what is no memory at all is told by the copy
		say(std::string(call) + ": its " + what + " is not of the context that it is said to be of");
		return false;
	};
	return belongs(to, to_context, "destination") && belongs(from, from_context, "source") ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes) {
	ENTER_CONTEXT();
	const CUresult fit = peers(__func__, to, to_context, from, from_context, bytes);
	if (fit != CUDA_SUCCESS) return fit;
	return copy(__func__, to, device, from, device, bytes, context, nullptr, true);
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes, CUstream stream) {
	ENTER_CONTEXT();
	const CUresult fit = peers(__func__, to, to_context, from, from_context, bytes);
	if (fit != CUDA_SUCCESS) return fit;
	return copy(__func__, to, device, from, device, bytes, context, stream, false);
}

#define FILL(name, asynchronous, type)                                              \
	CUresult name(CUdeviceptr to, type value, size_t n) {                           \
		ENTER_CONTEXT();                                                            \
		return fill(__func__, to, value, n, context, nullptr, true);                \
	}                                                                               \
	CUresult asynchronous(CUdeviceptr to, type value, size_t n, CUstream stream) {  \
		ENTER_CONTEXT();                                                            \
		return fill(__func__, to, value, n, context, stream, false);                \
	}

FILL(cuMemsetD8, cuMemsetD8Async, unsigned char)
FILL(cuMemsetD16, cuMemsetD16Async, unsigned short)
FILL(cuMemsetD32, cuMemsetD32Async, unsigned)
