// Contexts: each thread has a stack of them, and the top one is current.
#include <algorithm>

#include "driver.h"
#include "memory.h"

namespace softcuda {

namespace {
std::set<CUcontext> living;

struct Primary {
	CUcontext context = nullptr;
	int holders = 0;
	unsigned flags = 0;
};
std::vector<Primary> &primaries() {
	static std::vector<Primary> all(static_cast<size_t>(devices()));
	return all;
}

CUcontext make(CUdevice device, unsigned flags) {
	auto *context = new CUctx_st{device, flags, CUDA_SUCCESS, {}, {}};
	living.insert(context);
	return context;
}

void end(CUcontext context) {
	finish(context);
	forget_streams(context);
	forget_modules(context);
	release_owned(context);
	forget_hosts(context);
	// It is not deleted: what still points to it must be told from a new one.
	living.erase(context);
}
}  // namespace

std::vector<CUcontext> &context_stack() {
	static thread_local std::vector<CUcontext> stack;
	return stack;
}

bool alive(CUcontext context) { return living.count(context) > 0; }

CUresult current(CUcontext *context) {
	const auto &stack = context_stack();
	if (stack.empty() || !stack.back()) return CUDA_ERROR_INVALID_CONTEXT;
	if (!alive(stack.back())) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	*context = stack.back();
	return (*context)->error;
}

CUresult finish(CUcontext context) {
	while (!context->operations.empty()) {
		const Operation operation = std::move(context->operations.front());
		context->operations.pop_front();
		if (context->error == CUDA_SUCCESS) context->error = operation();
	}
	return context->error;
}

}  // namespace softcuda

using namespace softcuda;

CUresult cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
	ENTER();
	if (!context) return CUDA_ERROR_INVALID_VALUE;
	if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;
	*context = make(device, flags);
	context_stack().push_back(*context);
	return CUDA_SUCCESS;
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
	ENTER_CONTEXT();
	if (flags) return CUDA_ERROR_INVALID_VALUE;
	if (!alive(peer)) return CUDA_ERROR_INVALID_CONTEXT;
	if (peer->device == context->device) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
	return context->peers.insert(peer).second ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
	ENTER_CONTEXT();
	if (!alive(peer)) return CUDA_ERROR_INVALID_CONTEXT;
	return context->peers.erase(peer) ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}

CUresult cuCtxDestroy(CUcontext context) {
	ENTER();
	if (!alive(context)) return CUDA_ERROR_INVALID_CONTEXT;
	end(context);
	auto &stack = context_stack();
	if (!stack.empty() && stack.back() == context) stack.pop_back();
	return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext context) {
	ENTER();
	if (!alive(context)) return CUDA_ERROR_INVALID_CONTEXT;
	context_stack().push_back(context);
	return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *context) {
	ENTER();
	auto &stack = context_stack();
	if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
	if (context) *context = stack.back();
	stack.pop_back();
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
	ENTER();
	if (context && !alive(context)) return CUDA_ERROR_INVALID_CONTEXT;
	auto &stack = context_stack();
	if (!stack.empty()) stack.pop_back();
	if (context) stack.push_back(context);
	return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
	ENTER();
	if (!context) return CUDA_ERROR_INVALID_VALUE;
	*context = context_stack().empty() ? nullptr : context_stack().back();
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
	ENTER_CONTEXT();
	if (!device) return CUDA_ERROR_INVALID_VALUE;
	*device = context->device;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetFlags(unsigned *flags) {
	ENTER_CONTEXT();
	if (!flags) return CUDA_ERROR_INVALID_VALUE;
	*flags = context->flags;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version) {
	ENTER();
	if (!version) return CUDA_ERROR_INVALID_VALUE;
	if (context && !alive(context)) return CUDA_ERROR_INVALID_CONTEXT;
	*version = 3020;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
	ENTER_CONTEXT();
	if (least) *least = 0;
	if (greatest) *greatest = -5;
	return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
	ENTER_CONTEXT();
	const CUresult allowed = outside_captures(context);
	return allowed == CUDA_SUCCESS ? finish(context) : allowed;
}

#define ENTER_PRIMARY()                                                           \
	ENTER();                                                                      \
	if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE;      \
	Primary &primary = primaries()[static_cast<size_t>(device)]

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
	ENTER_PRIMARY();
	if (!context) return CUDA_ERROR_INVALID_VALUE;
	if (!primary.context) primary.context = make(device, primary.flags);
	primary.holders++;
	*context = primary.context;
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
	ENTER_PRIMARY();
	if (!primary.context) return CUDA_ERROR_INVALID_CONTEXT;
	if (--primary.holders == 0) {
		end(primary.context);
		primary.context = nullptr;
	}
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxReset(CUdevice device) {
	ENTER_PRIMARY();
	if (primary.context) end(primary.context);
	primary.context = nullptr;
	primary.holders = 0;
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
	ENTER_PRIMARY();
	primary.flags = flags;
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
	ENTER_PRIMARY();
	if (flags) *flags = primary.flags;
	if (active) *active = primary.context != nullptr;
	return CUDA_SUCCESS;
}
