// Makes driver calls from a script on standard input, one a line, and says what each gave:
//   alloc NAME N           floats              free NAME
//   put NAME V...          copied to NAME      get NAME N       copied back and printed
//                                              bits NAME N      the same, printed as the bits of floats, in hexadecimal
//   copy NAME NAME N       from the second     fill NAME N V    with a float
//   take NAME N            copied back, and printed by taken
//   launch KERNEL GRID BLOCK SHARED ARG...     ARG: a NAME, NAME+BYTES, int:V or float:V
//   allow KERNEL BYTES                         of dynamic shared memory
//   sync                   info                destroy          context
//   stream NAME [blocking]                     is the one that calls without a name go to from here on, made if there is none of that name; null is the legacy one
//   wait   query  drop                         of the stream; drop destroys it
//   event NAME [untimed]   record NAME [in]    after NAME [in]  wait of the stream; in: from outside of a capture, or to outside
//   asked NAME             cuEventQuery        awaited NAME     cuEventSynchronize
//   elapsed NAME NAME                          says whether it is below, at or above 0
//   capture [global|local|relaxed]             status           end [params|clone]  of the stream
//   replay                 nodes               forget           of what end gave; params and clone: the other ways to it
//   relax                                      cuThreadExchangeStreamCaptureMode
//   other DEVICE                               changes over to a context there, made if there is none, and back
//   can DEVICE DEVICE      cuDeviceCanAccessPeer   reach [FLAGS]   lets the context use the other's memory
//   fetch NAME NAME N [wrong]                  from the second, of the other context; wrong: said to be of this one
//   elsewhere CALL...                          in another thread
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {
std::map<std::string, CUdeviceptr> names;
std::map<std::string, CUstream> streams;
std::map<std::string, CUevent> events;
std::list<std::vector<float>> kept;  // a copy of a graph reads its source, and writes its destination, when it is replayed
CUcontext context;
CUcontext second;  // of `other`
CUmodule module;
CUstream stream;
CUgraph graph;
CUgraphExec executable;
std::string more;  // what is said behind the result

CUdeviceptr address(const std::string &word) {
	const size_t plus = word.find('+');
	return names[word.substr(0, plus)] + (plus == std::string::npos ? 0 : std::stoul(word.substr(plus + 1)));
}

template <typename T> T next(std::istream &words) {
	T v{};
	words >> v;
	return v;
}

CUdeviceptr place(std::istream &words) { return address(next<std::string>(words)); }

std::vector<float> &keep(size_t n) {
	kept.emplace_back(n);
	return kept.back();
}

void print(const std::vector<float> &v) {
	for (float x : v) more += (more.empty() ? " " : ",") + (x != x ? std::string("nan") : std::to_string(x).substr(0, std::to_string(x).find('.') + 2));
}

CUresult function_of(const std::string &name, CUfunction *function) { return cuModuleGetFunction(function, module, name.c_str()); }

CUresult launch(std::istream &words) {
	const auto name = next<std::string>(words);
	unsigned grid, block, shared;
	words >> grid >> block >> shared;
	CUfunction function;
	const CUresult error = function_of(name, &function);
	if (error != CUDA_SUCCESS) return error;
	char storage[16][8];
	void *params[16];
	int n = 0;
	const auto give = [&](auto v) {
		params[n] = storage[n];
		std::memcpy(storage[n++], &v, sizeof v);
	};
	for (std::string word; words >> word;) {
		if (word.rfind("int:", 0) == 0)
			give(std::stoi(word.substr(4)));
		else if (word.rfind("float:", 0) == 0)
			give(std::stof(word.substr(6)));
		else
			give(address(word));
	}
	return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, params, nullptr);
}

CUresult allow(std::istream &words) {
	CUfunction function;
	const CUresult error = function_of(next<std::string>(words), &function);
	return error == CUDA_SUCCESS ? cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, next<int>(words)) : error;
}

CUresult put(std::istream &words) {
	const CUdeviceptr to = place(words);
	auto &from = keep(0);
	for (std::string v; words >> v;) from.push_back(std::strtof(v.c_str(), nullptr));
	return cuMemcpyHtoDAsync(to, from.data(), from.size() * sizeof(float), stream);
}

CUresult get(std::istream &words) {
	const CUdeviceptr from = place(words);
	std::vector<float> v(next<size_t>(words));
	const CUresult result = cuMemcpyDtoH(v.data(), from, v.size() * sizeof(float));
	print(v);
	return result;
}

CUresult bits(std::istream &words) {
	const CUdeviceptr from = place(words);
	std::vector<unsigned> v(next<size_t>(words));
	const CUresult result = cuMemcpyDtoH(v.data(), from, v.size() * sizeof(unsigned));
	char word[16];
	for (unsigned x : v) more += (std::snprintf(word, sizeof word, " %08x", x), word);
	return result;
}

CUresult take(std::istream &words) {
	const CUdeviceptr from = place(words);
	auto &to = keep(next<size_t>(words));
	return cuMemcpyDtoHAsync(to.data(), from, to.size() * sizeof(float), stream);
}

CUresult copy(std::istream &words) {
	const CUdeviceptr to = place(words), from = place(words);
	return cuMemcpyDtoDAsync(to, from, next<size_t>(words) * sizeof(float), stream);
}

CUresult fill(std::istream &words) {
	const CUdeviceptr to = place(words);
	const auto n = next<size_t>(words);
	const auto v = next<float>(words);
	unsigned as_bits;
	std::memcpy(&as_bits, &v, sizeof v);
	return cuMemsetD32Async(to, as_bits, n, stream);
}

CUresult use_stream(std::istream &words) {
	const auto name = next<std::string>(words), kind = next<std::string>(words);
	CUresult result = CUDA_SUCCESS;
	if (name != "null" && !streams.count(name)) result = cuStreamCreate(&streams[name], kind == "blocking" ? CU_STREAM_DEFAULT : CU_STREAM_NON_BLOCKING);
	stream = name == "null" ? nullptr : streams[name];
	return result;
}

CUresult elapsed(std::istream &words) {
	float ms = 0;
	const auto from = next<std::string>(words), to = next<std::string>(words);
	const CUresult result = cuEventElapsedTime(&ms, events[from], events[to]);
	if (result == CUDA_SUCCESS) more = ms < 0 ? " below 0" : ms > 0 ? " above 0" : " at 0";
	return result;
}

CUresult capture(std::istream &words) {
	const auto mode = next<std::string>(words);
	return cuStreamBeginCapture(stream, mode == "relaxed" ? CU_STREAM_CAPTURE_MODE_RELAXED : mode == "local" ? CU_STREAM_CAPTURE_MODE_THREAD_LOCAL : CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult nodes(std::istream &) {
	size_t n = 0;
	CUresult result = cuGraphGetNodes(graph, nullptr, &n);
	std::vector<CUgraphNode> all(n);
	if (result == CUDA_SUCCESS) result = cuGraphGetNodes(graph, all.data(), &n);
	for (CUgraphNode node : all) {
		CUgraphNodeType type;
		if (result == CUDA_SUCCESS) result = cuGraphNodeGetType(node, &type);
		more += " " + std::to_string(type);
	}
	return result;
}

CUresult other(std::istream &words) {
	const auto device = next<int>(words);
	std::swap(context, second);
	return context ? cuCtxSetCurrent(context) : cuCtxCreate(&context, 0, device);
}

CUresult fetch(std::istream &words) {
	const CUdeviceptr to = place(words), from = place(words);
	const auto n = next<size_t>(words);
	return cuMemcpyPeerAsync(to, context, from, next<std::string>(words) == "wrong" ? context : second, n * sizeof(float), stream);
}

CUresult end(std::istream &words) {
	const auto how = next<std::string>(words);
	CUresult result = cuStreamEndCapture(stream, &graph);
	if (result != CUDA_SUCCESS) return result;
	if (how == "clone") {
		const CUgraph captured = graph;
		result = cuGraphClone(&graph, captured);
		if (result == CUDA_SUCCESS) result = cuGraphDestroy(captured);
	}
	if (result != CUDA_SUCCESS) return result;
	CUDA_GRAPH_INSTANTIATE_PARAMS params{};
	return how == "params" ? cuGraphInstantiateWithParams(&executable, graph, &params) : cuGraphInstantiate(&executable, graph, 0);
}

const std::map<std::string, std::function<CUresult(std::istream &)>> calls{
    {"alloc", [](std::istream &words) { auto &p = names[next<std::string>(words)]; return cuMemAlloc(&p, next<size_t>(words) * sizeof(float)); }},
    {"free", [](std::istream &words) { return cuMemFree(place(words)); }},
    {"put", put}, {"get", get}, {"bits", bits}, {"take", take}, {"copy", copy}, {"fill", fill},
    {"taken", [](std::istream &) { print(kept.back()); return CUDA_SUCCESS; }},
    {"launch", launch}, {"allow", allow},
    {"sync", [](std::istream &) { return cuCtxSynchronize(); }},
    {"destroy", [](std::istream &) { return cuCtxDestroy(context); }},
    {"info", [](std::istream &) { size_t free = 0, total = 0; const CUresult r = cuMemGetInfo(&free, &total); more = " " + std::to_string(free) + "/" + std::to_string(total); return r; }},
    {"stream", use_stream},
    {"wait", [](std::istream &) { return cuStreamSynchronize(stream); }},
    {"query", [](std::istream &) { return cuStreamQuery(stream); }},
    {"drop", [](std::istream &) { return cuStreamDestroy(stream); }},
    {"event", [](std::istream &words) { auto &e = events[next<std::string>(words)]; return cuEventCreate(&e, next<std::string>(words) == "untimed" ? CU_EVENT_DISABLE_TIMING : CU_EVENT_DEFAULT); }},
    {"record", [](std::istream &words) { const CUevent e = events[next<std::string>(words)]; return next<std::string>(words) == "in" ? cuEventRecordWithFlags(e, stream, CU_EVENT_RECORD_EXTERNAL) : cuEventRecord(e, stream); }},
    {"after", [](std::istream &words) { const CUevent e = events[next<std::string>(words)]; return cuStreamWaitEvent(stream, e, next<std::string>(words) == "in" ? CU_EVENT_WAIT_EXTERNAL : CU_EVENT_WAIT_DEFAULT); }},
    {"asked", [](std::istream &words) { return cuEventQuery(events[next<std::string>(words)]); }},
    {"awaited", [](std::istream &words) { return cuEventSynchronize(events[next<std::string>(words)]); }},
    {"other", other}, {"fetch", fetch},
    {"can", [](std::istream &words) { int can = 0; const int device = next<int>(words); const CUresult r = cuDeviceCanAccessPeer(&can, device, next<int>(words)); more = " " + std::to_string(can); return r; }},
    {"reach", [](std::istream &words) { return cuCtxEnablePeerAccess(second, next<unsigned>(words)); }},
    {"elapsed", elapsed}, {"capture", capture}, {"nodes", nodes},
    {"status", [](std::istream &) { CUstreamCaptureStatus s{}; const CUresult r = cuStreamIsCapturing(stream, &s); more = " " + std::to_string(s); return r; }},
    {"end", end},
    {"replay", [](std::istream &) { return cuGraphLaunch(executable, stream); }},
    {"forget", [](std::istream &) { const CUresult r = cuGraphExecDestroy(executable); return r == CUDA_SUCCESS ? cuGraphDestroy(graph) : r; }},
    {"relax", [](std::istream &) { CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED; const CUresult r = cuThreadExchangeStreamCaptureMode(&mode); more = " " + std::to_string(mode); return r; }},
};

CUresult begin() {
	CUresult r = cuInit(0);
	if (r == CUDA_SUCCESS) r = cuCtxCreate(&context, 0, 0);
	if (r == CUDA_SUCCESS) r = cuStreamCreate(&streams["main"], CU_STREAM_NON_BLOCKING);
	stream = streams["main"];
	if (r == CUDA_SUCCESS) r = cuModuleLoadData(&module, "// PTX");
	return r;
}
}  // namespace

int main() {
	std::printf("begin: %d\n", begin());
	for (std::string line; std::getline(std::cin, line);) {
		std::istringstream words(line);
		auto call = next<std::string>(words);
		const bool elsewhere = call == "elsewhere";
		if (elsewhere) words >> call;
		more.clear();
		CUresult r = CUDA_ERROR_UNKNOWN;
		const auto found = calls.find(call);
		if (found != calls.end()) {
			if (elsewhere)
				std::thread([&] { r = cuCtxSetCurrent(context), r = found->second(words); }).join();
			else
				r = found->second(words);
		}
		std::printf("%s: %d%s\n", call.c_str(), r, more.c_str());
		std::fflush(stdout);
	}
}
