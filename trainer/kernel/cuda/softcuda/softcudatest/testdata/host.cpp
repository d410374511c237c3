// Makes driver calls from a script on standard input, one a line, and says what each gave:
//   alloc NAME N           floats              free NAME
//   put NAME V...          copied to NAME      get NAME N       copied back and printed
//                                            bits NAME N      the same, printed as the bits of floats, in hexadecimal
//   launch KERNEL GRID BLOCK SHARED ARG...     ARG: a NAME, NAME+BYTES, int:V or float:V
//   allow KERNEL BYTES                         of dynamic shared memory
//   sync                   info                destroy          context
//   capture  end  replay                       of a stream that launches and puts go to
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {
std::map<std::string, CUdeviceptr> names;
std::vector<std::vector<float>> kept;  // a copy of a graph reads its source when it is replayed

CUdeviceptr address(const std::string &word) {
	const size_t plus = word.find('+');
	return names[word.substr(0, plus)] + (plus == std::string::npos ? 0 : std::stoul(word.substr(plus + 1)));
}

CUresult launch(CUmodule module, CUstream stream, std::istream &words) {
	std::string name, word;
	unsigned grid, block, shared;
	words >> name >> grid >> block >> shared;
	CUfunction function;
	const CUresult error = cuModuleGetFunction(&function, module, name.c_str());
	if (error != CUDA_SUCCESS) return error;
	char storage[16][8];
	void *params[16];
	int n = 0;
	while (words >> word) {
		params[n] = storage[n];
		if (word.rfind("int:", 0) == 0) {
			const int v = std::stoi(word.substr(4));
			std::memcpy(storage[n++], &v, sizeof v);
		} else if (word.rfind("float:", 0) == 0) {
			const float v = std::stof(word.substr(6));
			std::memcpy(storage[n++], &v, sizeof v);
		} else {
			const CUdeviceptr v = address(word);
			std::memcpy(storage[n++], &v, sizeof v);
		}
	}
	return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, params, nullptr);
}
}  // namespace

int main() {
	CUcontext context = nullptr;
	CUmodule module = nullptr;
	CUstream stream = nullptr;
	CUgraph graph = nullptr;
	CUgraphExec executable = nullptr;
	const auto begin = [&] {
		CUresult r = cuInit(0);
		if (r == CUDA_SUCCESS) r = cuCtxCreate(&context, 0, 0);
		if (r == CUDA_SUCCESS) r = cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
		if (r == CUDA_SUCCESS) r = cuModuleLoadData(&module, "// PTX");
		return r;
	};
	std::printf("begin: %d\n", begin());
	for (std::string line; std::getline(std::cin, line);) {
		std::istringstream words(line);
		std::string call, name, more;
		words >> call;
		CUresult r = CUDA_ERROR_UNKNOWN;
		if (call == "alloc") {
			size_t n;
			words >> name >> n;
			r = cuMemAlloc(&names[name], n * sizeof(float));
		} else if (call == "free") {
			words >> name;
			r = cuMemFree(address(name));
		} else if (call == "put") {
			words >> name;
			kept.emplace_back();
			for (std::string v; words >> v;) kept.back().push_back(std::strtof(v.c_str(), nullptr));
			r = cuMemcpyHtoDAsync(address(name), kept.back().data(), kept.back().size() * sizeof(float), stream);
		} else if (call == "get") {
			size_t n;
			words >> name >> n;
			std::vector<float> v(n);
			r = cuMemcpyDtoH(v.data(), address(name), n * sizeof(float));
			for (float x : v) more += (more.empty() ? " " : ",") + (x != x ? std::string("nan") : std::to_string(x).substr(0, std::to_string(x).find('.') + 2));
		} else if (call == "bits") {
			size_t n;
			words >> name >> n;
			std::vector<unsigned> v(n);
			r = cuMemcpyDtoH(v.data(), address(name), n * sizeof(unsigned));
			char word[16];
			for (unsigned x : v) more += (std::snprintf(word, sizeof word, " %08x", x), word);
		} else if (call == "launch") {
			r = launch(module, stream, words);
		} else if (call == "allow") {
			int bytes;
			words >> name >> bytes;
			CUfunction function;
			r = cuModuleGetFunction(&function, module, name.c_str());
			if (r == CUDA_SUCCESS) r = cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
		} else if (call == "sync") {
			r = cuCtxSynchronize();
		} else if (call == "destroy") {
			r = cuCtxDestroy(context);
		} else if (call == "info") {
			size_t free = 0, total = 0;
			r = cuMemGetInfo(&free, &total);
			more = " " + std::to_string(free) + "/" + std::to_string(total);
		} else if (call == "capture") {
			r = cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
		} else if (call == "end") {
			r = cuStreamEndCapture(stream, &graph);
			if (r == CUDA_SUCCESS) r = cuGraphInstantiate(&executable, graph, 0);
		} else if (call == "replay") {
			r = cuGraphLaunch(executable, stream);
		}
		std::printf("%s: %d%s\n", call.c_str(), r, more.c_str());
		std::fflush(stdout);
	}
}
