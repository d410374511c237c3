// What the driver calls share. Every call takes one lock: a launch is a call, so that one runs at a time in a process.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "launch.h"

using softcuda::Kernel;
using Operation = std::function<CUresult()>;

struct CUgraph_st {
	std::vector<Operation> operations;  // in the order in which they were captured
};

struct CUgraphExec_st {
	std::vector<Operation> operations;
};

struct CUctx_st {
	CUdevice device;
	unsigned flags;
	CUresult error = CUDA_SUCCESS;     // once a kernel has failed, every later call of the context gives its error, as on a GPU
	std::deque<Operation> operations;  // enqueued and not run: SOFTCUDA_CHECK=late. One queue in the order of the calls is one of the orders that streams allow.
};

struct CUstream_st {
	CUcontext context;
	unsigned flags;
	int priority;
	CUgraph capture = nullptr;   // the graph that calls go to instead
	bool captures_first = true;  // it began the capture, and did not join it through an event
	bool broken = false;         // a call that cannot be captured has spoilt it
};

struct CUevent_st {
	CUcontext context;
	unsigned flags;
	bool recorded = false;
	CUgraph capture = nullptr;  // recorded while this was captured
	uint64_t time_ns = 0;       // when what stood before it was done
};

struct CUmod_st {
	CUcontext context;
};

struct CUfunc_st {
	CUmodule module;
	const Kernel *kernel;
	int dynamic_limit;  // bytes
};

namespace softcuda {

constexpr int default_dynamic_limit = 48 << 10;
// 10 major + minor.
int capability();
// The bytes of shared memory that a block can be allowed, by the table of compute capabilities in CUDA's programming guide.
int largest_dynamic_limit();

// One call: holds the lock, counts, and gives the error that SOFTCUDA_FAIL=CALL:N:CODE plants in the N-th CALL.
class Call {
public:
	explicit Call(const char *name);
	CUresult planted;

private:
	std::lock_guard<std::recursive_mutex> lock;
};

void count_kernel(const char *name);
void count_call(const char *name);
bool initialised();
int devices();
size_t device_bytes();
std::vector<CUcontext> &context_stack();
bool alive(CUcontext context);
// The thread's context; the error where there is none, it was destroyed, or one of its kernels has failed.
CUresult current(CUcontext *context);
// Runs what is enqueued. Gives the context's error.
CUresult finish(CUcontext context);
// For later, for now, or into the graph that stream captures.
CUresult enqueue(CUstream stream, Operation operation);
// The streams that null, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD stand for are the context's one queue; they capture nothing.
bool is_default(CUstream stream);
bool alive(CUstream stream);
bool capturing(CUstream stream);
// A call that is no part of a graph: spoils a capture that is going on in the context. False: there is one.
bool outside_captures(CUcontext context);
void keep_graph(CUgraph graph);
void forget_streams(CUcontext context);
void forget_modules(CUcontext context);
// Whether [address, address + bytes) can be copied: host memory is taken as it is, device memory must be one live allocation's.
bool copyable(CUdeviceptr address, size_t bytes, const char *call, const char *what);
void say(const std::string &text);

}  // namespace softcuda

#define ENTER()                                                              \
	::softcuda::Call call(__func__);                                         \
	if (call.planted != CUDA_SUCCESS) return call.planted;                   \
	if (!::softcuda::initialised()) return CUDA_ERROR_NOT_INITIALIZED

#define ENTER_CONTEXT()                                                      \
	ENTER();                                                                 \
	CUcontext context;                                                       \
	const CUresult current_error = ::softcuda::current(&context);            \
	if (current_error != CUDA_SUCCESS) return current_error
