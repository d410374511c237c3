// Captures: what is enqueued on a stream becomes a graph. An event that was recorded in a capture brings the stream that waits for it into that capture, behind what stood before the event. What cannot be part of
// one spoils it, as "Prohibited and Unhandled Operations" in CUDA's programming guide has it.
#include <algorithm>
#include <map>

#include "driver.h"

namespace softcuda {

namespace {
std::map<uint64_t, Capture> captures;
uint64_t last_id;
thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

bool legacy(CUstream stream) { return stream == nullptr || stream == CU_STREAM_LEGACY; }

bool capturing(CUstream stream, const Capture &capture) { return stream->capture == capture.id; }

bool captures_in(CUcontext context, const Capture &capture) {
	for (CUstream s : all_streams())
		if (s->context == context && capturing(s, capture)) return true;
	return false;
}

bool blocks_legacy(CUcontext context, const Capture &capture) {
	for (CUstream s : all_streams())
		if (s->context == context && capturing(s, capture) && !(s->flags & CU_STREAM_NON_BLOCKING)) return true;
	return false;
}

// The nodes that from, and all that they come after, are.
std::set<size_t> with_all_before(const CUgraph_st &graph, const std::vector<size_t> &from) {
	std::set<size_t> found;
	std::vector<size_t> open = from;
	while (!open.empty()) {
		const size_t n = open.back();
		open.pop_back();
		if (found.insert(n).second) open.insert(open.end(), graph.nodes[n]->after.begin(), graph.nodes[n]->after.end());
	}
	return found;
}

// Whether every stream that joined is waited for by the first one.
bool joined(const Capture &capture) {
	const std::set<size_t> reached = with_all_before(*capture.graph, capture.first->last);
	for (CUstream s : all_streams())
		if (capturing(s, capture) && !std::all_of(s->last.begin(), s->last.end(), [&](size_t n) { return reached.count(n) > 0; })) return false;
	return true;
}

void end(const Capture &capture) {
	const uint64_t id = capture.id;
	for (CUstream s : all_streams())
		if (s->capture == id) {
			s->capture = 0;
			s->last.clear();
		}
	captures.erase(id);
}

CUresult spoil(Capture *capture, CUresult result) {
	capture->broken = true;
	return result;
}
}  // namespace

Capture *capture_of(CUstream stream) { return is_default(stream) ? nullptr : capture_with(stream->capture); }

Capture *capture_with(uint64_t id) {
	const auto found = captures.find(id);
	return found == captures.end() ? nullptr : &found->second;
}

CUresult spoil(CUstream stream, CUresult result) { return spoil(capture_of(stream), result); }

CUresult add_node(CUstream stream, CUgraphNodeType type, Operation operation) {
	Capture &capture = *capture_of(stream);
	if (capture.broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	auto &nodes = capture.graph->nodes;
	nodes.emplace_back(new CUgraphNode_st{type, std::move(operation), stream->last});
	stream->last = {nodes.size() - 1};
	return CUDA_SUCCESS;
}

CUresult outside_captures(CUcontext context) {
	CUresult result = CUDA_SUCCESS;
	for (auto &[id, capture] : captures)
		if (captures_in(context, capture)) result = spoil(&capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	return result;
}

CUresult on_legacy(CUstream stream, CUcontext context) {
	CUresult result = CUDA_SUCCESS;
	for (auto &[id, capture] : captures)
		if (legacy(stream) && blocks_legacy(context, capture)) result = spoil(&capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
	return result;
}

CUresult unsafe_call() {
	CUresult result = CUDA_SUCCESS;
	if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return result;
	for (auto &[id, capture] : captures) {
		const bool own = capture.thread == std::this_thread::get_id() && capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED;
		const bool another = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
		if (own || another) result = spoil(&capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	}
	return result;
}

CUresult wait_in_capture(CUstream stream, CUevent event, unsigned flags) {
	Capture *own = capture_of(stream), *other = capture_with(event->capture);
	const bool external = flags & CU_EVENT_WAIT_EXTERNAL;
	if (external && !own) return CUDA_ERROR_INVALID_VALUE;
	if (own && own->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	// One queue in the order of the calls: what an event stands for that was recorded outside runs first anyhow.
	if (!event->capture && external) return add_node(stream, CU_GRAPH_NODE_TYPE_WAIT_EVENT, [] { return CUDA_SUCCESS; });
	if (!event->capture) return own ? spoil(own, CUDA_ERROR_STREAM_CAPTURE_ISOLATION) : CUDA_SUCCESS;
	if (!other) return own ? spoil(own, CUDA_ERROR_CAPTURED_EVENT) : CUDA_ERROR_CAPTURED_EVENT;
	if (other->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (is_default(stream)) return spoil(other, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
	if (own && own != other) return spoil(own, spoil(other, CUDA_ERROR_STREAM_CAPTURE_MERGE));
	stream->capture = other->id;
	for (size_t n : event->last)
		if (std::find(stream->last.begin(), stream->last.end(), n) == stream->last.end()) stream->last.push_back(n);
	return CUDA_SUCCESS;
}

void leave_capture(CUstream stream) {
	Capture *capture = capture_of(stream);
	if (!capture) return;
	capture->broken = true;
	if (capture->first != stream) return;
	delete capture->graph;
	end(*capture);
}

}  // namespace softcuda

using namespace softcuda;

#define ENTER_STREAM(stream) \
	ENTER_CONTEXT();         \
	if (!alive(stream)) return CUDA_ERROR_INVALID_HANDLE

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
	ENTER_STREAM(stream);
	if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
	if (is_default(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (capture_of(stream)) return CUDA_ERROR_ILLEGAL_STATE;
	stream->capture = ++last_id;
	stream->last.clear();
	captures[last_id] = {last_id, new CUgraph_st, mode, std::this_thread::get_id(), stream, false};
	return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
	ENTER_STREAM(stream);
	if (!graph) return CUDA_ERROR_INVALID_VALUE;
	Capture *capture = capture_of(stream);
	if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
	if (capture->first != stream) return spoil(capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
	if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id()) return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
	*graph = capture->graph;
	const CUresult result = capture->broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : joined(*capture) ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
	end(*capture);
	if (result == CUDA_SUCCESS) return keep_graph(*graph), result;
	delete *graph;
	*graph = nullptr;
	return result;
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
	ENTER_STREAM(stream);
	if (!status) return CUDA_ERROR_INVALID_VALUE;
	const Capture *capture = capture_of(stream);
	*status = !capture ? CU_STREAM_CAPTURE_STATUS_NONE : capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
	for (const auto &[id, c] : captures)
		if (legacy(stream) && blocks_legacy(context, c)) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	return CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
	ENTER();
	if (!mode || *mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
	std::swap(*mode, thread_mode);
	return CUDA_SUCCESS;
}
