// Streams and events.
#include <chrono>
#include <cstdlib>

#include "driver.h"

namespace softcuda {

namespace {
std::set<CUstream> streams;
std::set<CUevent> events;

uint64_t now_ns() {
	return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

bool alive(CUevent event) { return events.count(event) > 0; }
}  // namespace

bool is_default(CUstream stream) { return stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD; }
bool alive(CUstream stream) { return is_default(stream) || streams.count(stream) > 0; }
bool capturing(CUstream stream) { return !is_default(stream) && stream->capture; }

bool outside_captures(CUcontext context) {
	bool outside = true;
	for (CUstream s : streams)
		if (s->context == context && s->capture) {
			s->broken = true;
			outside = false;
		}
	return outside;
}

CUresult enqueue(CUstream stream, Operation operation) {
	if (!alive(stream)) return CUDA_ERROR_INVALID_HANDLE;
	if (capturing(stream)) {
		stream->capture->operations.push_back(std::move(operation));
		return CUDA_SUCCESS;
	}
	CUcontext context;
	const CUresult error = current(&context);
	if (error != CUDA_SUCCESS) return error;
	if (!is_default(stream) && stream->context != context) context = stream->context;
	if (context->error != CUDA_SUCCESS) return context->error;
	context->operations.push_back(std::move(operation));
	// What fails is told by the next call, as on a GPU, unless launches are to be waited for.
	if (checks().late) return CUDA_SUCCESS;
	static const char *const blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
	const CUresult outcome = finish(context);
	return blocking && *blocking == '1' ? outcome : CUDA_SUCCESS;
}

void forget_streams(CUcontext context) {
	for (auto s = streams.begin(); s != streams.end();) s = (*s)->context == context ? streams.erase(s) : std::next(s);
	for (auto e = events.begin(); e != events.end();) e = (*e)->context == context ? events.erase(e) : std::next(e);
}

}  // namespace softcuda

using namespace softcuda;

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
	ENTER_CONTEXT();
	if (!stream || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
	*stream = new CUstream_st{context, flags, priority};
	streams.insert(*stream);
	return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

#define ENTER_STREAM(stream) \
	ENTER_CONTEXT();         \
	if (!alive(stream)) return CUDA_ERROR_INVALID_HANDLE

CUresult cuStreamDestroy(CUstream stream) {
	ENTER_STREAM(stream);
	if (is_default(stream)) return CUDA_ERROR_INVALID_HANDLE;
	finish(stream->context);
	streams.erase(stream);
	delete stream;
	return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
	ENTER_STREAM(stream);
	if (!capturing(stream)) return finish(is_default(stream) ? context : stream->context);
	stream->broken = true;
	return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult cuStreamQuery(CUstream stream) {
	ENTER_STREAM(stream);
	if (capturing(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	return context->operations.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamGetFlags(CUstream stream, unsigned *flags) {
	ENTER_STREAM(stream);
	if (!flags) return CUDA_ERROR_INVALID_VALUE;
	*flags = is_default(stream) ? 0 : stream->flags;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream stream, int *priority) {
	ENTER_STREAM(stream);
	if (!priority) return CUDA_ERROR_INVALID_VALUE;
	*priority = is_default(stream) ? 0 : stream->priority;
	return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
	ENTER_STREAM(stream);
	if (!alive(event)) return CUDA_ERROR_INVALID_HANDLE;
	// One queue in the order of the calls: what the event stands for runs first anyhow. Only a capture spreads to the stream that waits.
	if (!event->capture) return capturing(stream) && event->recorded ? CUDA_ERROR_STREAM_CAPTURE_ISOLATION : CUDA_SUCCESS;
	if (is_default(stream)) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	if (!stream->capture) {
		stream->capture = event->capture;
		stream->captures_first = false;
		return CUDA_SUCCESS;
	}
	return stream->capture == event->capture ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_MERGE;
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode) {
	ENTER_STREAM(stream);
	if (is_default(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
	stream->capture = new CUgraph_st;
	stream->captures_first = true;
	stream->broken = false;
	return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
	ENTER_STREAM(stream);
	if (!graph) return CUDA_ERROR_INVALID_VALUE;
	if (!capturing(stream)) return CUDA_ERROR_ILLEGAL_STATE;
	if (!stream->captures_first) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
	*graph = stream->capture;
	const bool broken = stream->broken;
	for (CUstream s : streams)
		if (s->capture == *graph) s->capture = nullptr;
	for (CUevent e : events)
		if (e->capture == *graph) e->capture = nullptr;
	if (!broken) return keep_graph(*graph), CUDA_SUCCESS;
	delete *graph;
	*graph = nullptr;
	return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
	ENTER_STREAM(stream);
	if (!status) return CUDA_ERROR_INVALID_VALUE;
	*status = !capturing(stream) ? CU_STREAM_CAPTURE_STATUS_NONE : stream->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
	return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
	ENTER_CONTEXT();
	if (!event) return CUDA_ERROR_INVALID_VALUE;
	*event = new CUevent_st{context, flags};
	events.insert(*event);
	return CUDA_SUCCESS;
}

#define ENTER_EVENT(event) \
	ENTER_CONTEXT();       \
	if (!alive(event)) return CUDA_ERROR_INVALID_HANDLE

CUresult cuEventDestroy(CUevent event) {
	ENTER_EVENT(event);
	finish(event->context);
	events.erase(event);
	delete event;
	return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
	ENTER_EVENT(event);
	if (!alive(stream)) return CUDA_ERROR_INVALID_HANDLE;
	event->capture = capturing(stream) ? stream->capture : nullptr;
	event->recorded = true;
	event->time_ns = 0;
	return enqueue(stream, [event] {
		if (alive(event)) event->time_ns = now_ns();
		return CUDA_SUCCESS;
	});
}

CUresult cuEventQuery(CUevent event) {
	ENTER_EVENT(event);
	if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
	return !event->recorded || event->time_ns ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event) {
	ENTER_EVENT(event);
	if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
	return event->recorded ? finish(event->context) : CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
	ENTER_EVENT(start);
	if (!ms || !alive(end)) return CUDA_ERROR_INVALID_HANDLE;
	if (!start->recorded || !end->recorded || (start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
	if (!start->time_ns || !end->time_ns) return CUDA_ERROR_NOT_READY;
	*ms = static_cast<float>((static_cast<double>(end->time_ns) - static_cast<double>(start->time_ns)) * 1e-6);
	return CUDA_SUCCESS;
}
