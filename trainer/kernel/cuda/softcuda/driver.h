// What the driver calls share. Every call takes one lock: a launch is a call, so that one runs at a time in a process.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "launch.h"

using softcuda::Kernel;
using Operation = std::function<CUresult()>;

struct CUgraphNode_st {
	CUgraphNodeType type;
	Operation operation;
	std::vector<size_t> after;  // what must have run, by number in its graph
};

struct CUgraph_st {
	std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // as they were captured: each behind those that it comes after
};

struct CUgraphExec_st {
	std::vector<Operation> operations;  // in an order that the graph allows
};

struct CUctx_st {
	CUdevice device;
	unsigned flags;
	CUresult error = CUDA_SUCCESS;     // once a kernel has failed, every later call of the context gives its error, as on a GPU
	std::set<CUctx_st *> peers;        // whose memory it may use
	std::deque<Operation> operations;  // enqueued and not run: SOFTCUDA_CHECK=late. One queue in the order of the calls is one of the orders that streams allow.
};

struct CUstream_st {
	CUcontext context;
	unsigned flags;
	int priority;
	uint64_t capture = 0;        // that calls go to instead, by id; 0: none
	std::vector<size_t> last{};  // nodes of it that the next one comes after
};

struct CUevent_st {
	CUcontext context;
	unsigned flags;
	bool recorded = false;
	uint64_t time_ns = 0;        // when what stood before it was done
	uint64_t capture = 0;        // that it was last recorded in, by id: it may be over; 0: it was not
	std::vector<size_t> last{};  // nodes of it that it stands behind
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
// For later, for now, or into the graph that stream captures, as a node of that type.
CUresult enqueue(CUstream stream, CUgraphNodeType type, Operation operation);
// The streams that null, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD stand for are the context's one queue; they capture nothing.
bool is_default(CUstream stream);
bool alive(CUstream stream);
const std::set<CUstream> &all_streams();

// A capture that is going on.
struct Capture {
	uint64_t id;
	CUgraph graph;
	CUstreamCaptureMode mode;
	std::thread::id thread;  // that began it
	CUstream first;          // that it began on; others join it through events
	bool broken;             // something that cannot be captured has spoilt it
};
// Null: there is none.
Capture *capture_of(CUstream stream);
Capture *capture_with(uint64_t id);
CUresult add_node(CUstream stream, CUgraphNodeType type, Operation operation);
// Makes stream's capture end in failure. Gives result.
CUresult spoil(CUstream stream, CUresult result);
// A call that waits for all of a context: an error while one of its streams captures, which spoils that.
CUresult outside_captures(CUcontext context);
// A call on the legacy stream, which waits for every stream that is not CU_STREAM_NON_BLOCKING: an error while one of those captures, which spoils that. Success for other streams.
CUresult on_legacy(CUstream stream, CUcontext context);
// A call that may wait for a stream that captures, or do what a graph does not do again: as the modes of captures and threads have it (cuThreadExchangeStreamCaptureMode) an error, which spoils them.
CUresult unsafe_call();
// What a wait for an event is to captures.
CUresult wait_in_capture(CUstream stream, CUevent event, unsigned flags);
// Before a stream ends.
void leave_capture(CUstream stream);
void forget_events(CUcontext context);
void keep_graph(CUgraph graph);
void forget_streams(CUcontext context);
// What is pinned in a context goes with it.
void forget_hosts(CUcontext context);
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
