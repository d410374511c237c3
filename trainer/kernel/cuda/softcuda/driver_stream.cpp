// Streams.
#include <cstdlib>

#include "driver.h"

namespace softcuda {

namespace {
std::set<CUstream> streams;

// Whether the host may ask for what runs on the stream, or wait for it.
CUresult askable(CUstream stream, CUcontext context) {
	if (capture_of(stream)) return spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	const CUresult implied = on_legacy(stream, context);
	return implied == CUDA_SUCCESS ? unsafe_call() : implied;
}
}  // namespace

const std::set<CUstream> &all_streams() { return streams; }
bool is_default(CUstream stream) { return stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD; }
bool alive(CUstream stream) { return is_default(stream) || streams.count(stream) > 0; }

CUresult enqueue(CUstream stream, CUgraphNodeType type, Operation operation) {
	if (!alive(stream)) return CUDA_ERROR_INVALID_HANDLE;
	if (capture_of(stream)) return add_node(stream, type, std::move(operation));
	CUcontext context;
	const CUresult error = current(&context);
	if (error != CUDA_SUCCESS) return error;
	const CUresult implied = on_legacy(stream, context);
	if (implied != CUDA_SUCCESS) return implied;
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
	for (auto s = streams.begin(); s != streams.end();) {
		const CUstream stream = *s;
		if (stream->context == context) leave_capture(stream);
		s = stream->context == context ? streams.erase(s) : std::next(s);
	}
	forget_events(context);
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
	leave_capture(stream);
	streams.erase(stream);
	delete stream;
	return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
	ENTER_STREAM(stream);
	const CUresult allowed = askable(stream, context);
	if (allowed != CUDA_SUCCESS) return allowed;
	return finish(is_default(stream) ? context : stream->context);
}

CUresult cuStreamQuery(CUstream stream) {
	ENTER_STREAM(stream);
	const CUresult allowed = askable(stream, context);
	if (allowed != CUDA_SUCCESS) return allowed;
	return (is_default(stream) ? context : stream->context)->operations.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
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
