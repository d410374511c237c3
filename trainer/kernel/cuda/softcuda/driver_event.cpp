// Events. One that was recorded in a capture stands for a place in it, and was never recorded on the device.
#include <chrono>

#include "driver.h"

namespace softcuda {

namespace {
std::set<CUevent> events;

uint64_t now_ns() {
	return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

bool lives(CUevent event) { return events.count(event) > 0; }

// Whether the host may ask for the event: not in the middle of a capture, nor what is no more than a place in one.
CUresult on_device(CUevent event) {
	if (!event->capture) return unsafe_call();
	if (Capture *capture = capture_with(event->capture)) capture->broken = true;
	return CUDA_ERROR_CAPTURED_EVENT;
}

CUresult elapsed(float *ms, CUevent start, CUevent end) {
	if (!ms) return CUDA_ERROR_INVALID_VALUE;
	if (!lives(start) || !lives(end) || (start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
	if (start->capture || end->capture) return CUDA_ERROR_CAPTURED_EVENT;
	if (!start->recorded || !end->recorded) return CUDA_ERROR_INVALID_HANDLE;
	if (!start->time_ns || !end->time_ns) return CUDA_ERROR_NOT_READY;
	*ms = static_cast<float>((static_cast<double>(end->time_ns) - static_cast<double>(start->time_ns)) * 1e-6);
	return CUDA_SUCCESS;
}

CUresult record(CUevent event, CUstream stream, unsigned flags) {
	if (!lives(event) || !alive(stream)) return CUDA_ERROR_INVALID_HANDLE;
	if (flags > CU_EVENT_RECORD_EXTERNAL || (flags == CU_EVENT_RECORD_EXTERNAL && !capture_of(stream))) return CUDA_ERROR_INVALID_VALUE;
	if (const Capture *capture = capture_of(stream); capture && flags != CU_EVENT_RECORD_EXTERNAL) {
		if (capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
		event->capture = capture->id;
		event->last = stream->last;
		return CUDA_SUCCESS;
	}
	const auto happens = [event] {
		if (!lives(event)) return CUDA_SUCCESS;
		event->recorded = true;
		event->time_ns = now_ns();
		return CUDA_SUCCESS;
	};
	event->capture = 0;
	// A node of a graph records it each time that the graph runs.
	if (capture_of(stream)) return add_node(stream, CU_GRAPH_NODE_TYPE_EVENT_RECORD, happens);
	event->recorded = true;
	event->time_ns = 0;
	return enqueue(stream, CU_GRAPH_NODE_TYPE_EVENT_RECORD, happens);
}
}  // namespace

void forget_events(CUcontext context) {
	for (auto e = events.begin(); e != events.end();) e = (*e)->context == context ? events.erase(e) : std::next(e);
}

}  // namespace softcuda

using namespace softcuda;

CUresult cuEventCreate(CUevent *event, unsigned flags) {
	ENTER_CONTEXT();
	if (!event) return CUDA_ERROR_INVALID_VALUE;
	*event = new CUevent_st{context, flags};
	events.insert(*event);
	return CUDA_SUCCESS;
}

#define ENTER_EVENT(event) \
	ENTER_CONTEXT();       \
	if (!lives(event)) return CUDA_ERROR_INVALID_HANDLE

CUresult cuEventDestroy(CUevent event) {
	ENTER_EVENT(event);
	finish(event->context);
	events.erase(event);
	delete event;
	return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
	ENTER_CONTEXT();
	return record(event, stream, CU_EVENT_RECORD_DEFAULT);
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
	ENTER_CONTEXT();
	return record(event, stream, flags);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
	ENTER_CONTEXT();
	if (!alive(stream) || !lives(event)) return CUDA_ERROR_INVALID_HANDLE;
	// Contexts have a queue each: what an event of another stands for is done first.
	if (event->context != context && !event->capture) finish(event->context);
	return wait_in_capture(stream, event, flags);
}

CUresult cuEventQuery(CUevent event) {
	ENTER_EVENT(event);
	const CUresult allowed = on_device(event);
	if (allowed != CUDA_SUCCESS) return allowed;
	return !event->recorded || event->time_ns ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event) {
	ENTER_EVENT(event);
	const CUresult allowed = on_device(event);
	if (allowed != CUDA_SUCCESS) return allowed;
	return event->recorded ? finish(event->context) : CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
	ENTER_CONTEXT();
	return elapsed(ms, start, end);
}

// CUDA 13's name for it.
CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end) {
	ENTER_CONTEXT();
	return elapsed(ms, start, end);
}
