// Modules, functions and launches.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>

#include "driver.h"

namespace softcuda {

namespace {
std::set<CUmodule> modules;
std::map<std::pair<CUmodule, const Kernel *>, CUfunction> functions;
std::set<CUfunction> living_functions;

// An image's contents are for a GPU; that it is one is all that is looked at: a fat binary (or what wraps it), a cubin, or PTX.
bool is_image(const void *image) {
	uint32_t first;
	std::memcpy(&first, image, sizeof first);
	constexpr uint32_t fat_binary = 0xba55ed50, wrapper = 0x466243b1, elf = 0x464c457f;
	const unsigned char byte = *static_cast<const unsigned char *>(image);
	return first == fat_binary || first == wrapper || first == elf || byte == '/' || byte == '.' || byte == '\n';
}

CUresult load(CUmodule *module, const void *image, CUcontext context) {
	if (!module || !image) return CUDA_ERROR_INVALID_VALUE;
	if (!is_image(image)) return CUDA_ERROR_INVALID_IMAGE;
	const std::string error = load_kernels();
	if (!error.empty()) {
		say(error);
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	}
	modules.insert(*module = new CUmod_st{context});
	return CUDA_SUCCESS;
}

// What a launch is made of, kept until it runs.
struct Parameters {
	std::vector<std::vector<unsigned char>> bytes;
	std::vector<void *> pointers;
};

std::shared_ptr<Parameters> keep(const Kernel &kernel, void **given) {
	auto kept = std::make_shared<Parameters>();
	for (int i = 0; i < kernel.params; i++) {
		const auto *from = static_cast<const unsigned char *>(given[i]);
		kept->bytes.emplace_back(from, from + kernel.param_sizes[i]);
	}
	for (auto &b : kept->bytes) kept->pointers.push_back(b.data());
	return kept;
}
}  // namespace

void forget_modules(CUcontext context) {
	for (auto m = modules.begin(); m != modules.end();) m = (*m)->context == context ? modules.erase(m) : std::next(m);
	for (auto f = functions.begin(); f != functions.end();) {
		const bool gone = !modules.count(f->first.first);
		if (gone) living_functions.erase(f->second);
		f = gone ? functions.erase(f) : std::next(f);
	}
}

}  // namespace softcuda

using namespace softcuda;

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
	ENTER_CONTEXT();
	return load(module, image, context);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, CUjit_option *, void **) {
	ENTER_CONTEXT();
	return load(module, image, context);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) {
	ENTER_CONTEXT();
	return load(module, image, context);
}

CUresult cuModuleLoad(CUmodule *module, const char *file) {
	ENTER_CONTEXT();
	if (!file) return CUDA_ERROR_INVALID_VALUE;
	char first[8] = {};
	std::ifstream image(file, std::ios::binary);
	if (!image) return CUDA_ERROR_FILE_NOT_FOUND;
	image.read(first, sizeof first);
	return load(module, first, context);
}

CUresult cuModuleUnload(CUmodule module) {
	ENTER_CONTEXT();
	if (!modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
	finish(module->context);
	modules.erase(module);
	forget_modules(nullptr);
	return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
	ENTER_CONTEXT();
	if (!function || !name) return CUDA_ERROR_INVALID_VALUE;
	if (!modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
	const Kernel *kernel = find_kernel(name);
	if (!kernel) return CUDA_ERROR_NOT_FOUND;
	CUfunction &f = functions[{module, kernel}];
	if (!f) f = new CUfunc_st{module, kernel, default_dynamic_limit};
	living_functions.insert(f);
	*function = f;
	return CUDA_SUCCESS;
}

#define ENTER_FUNCTION(function) \
	ENTER_CONTEXT();             \
	if (!living_functions.count(function)) return CUDA_ERROR_INVALID_HANDLE

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
	ENTER_FUNCTION(function);
	if (!value || attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
	switch (attribute) {
	case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = function->kernel->max_threads; break;
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = function->dynamic_limit; break;
	case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
	case CU_FUNC_ATTRIBUTE_PTX_VERSION:
	case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = capability(); break;
	default: *value = 0;
	}
	return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
	ENTER_FUNCTION(function);
	if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS;
	if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > largest_dynamic_limit()) return CUDA_ERROR_INVALID_VALUE;
	function->dynamic_limit = value;
	return CUDA_SUCCESS;
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache) {
	ENTER_FUNCTION(function);
	return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
	ENTER_FUNCTION(function);
	if (!blocks || threads <= 0) return CUDA_ERROR_INVALID_VALUE;
	const int by_threads = 2048 / ((threads + 31) / 32 * 32);
	const int by_shared = shared == 0 ? 32 : (largest_dynamic_limit() + 1024) / static_cast<int>(shared + 1024);
	*blocks = std::min({by_threads, by_shared, 32});
	return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                        unsigned shared, CUstream stream, void **params, void **extra) {
	ENTER_FUNCTION(function);
	const uint3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
	if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_x > 2147483647u || grid_y > 65535 || grid_z > 65535) return CUDA_ERROR_INVALID_VALUE;
	if (block_x == 0 || block_y == 0 || block_z == 0 || block_x > 1024 || block_y > 1024 || block_z > 64 || block_x * block_y * block_z > 1024) return CUDA_ERROR_INVALID_VALUE;
	const Kernel &kernel = *function->kernel;
	if (block_x * block_y * block_z > static_cast<unsigned>(kernel.max_threads)) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (shared > static_cast<unsigned>(function->dynamic_limit)) return CUDA_ERROR_INVALID_VALUE;
	if (extra) return CUDA_ERROR_NOT_SUPPORTED;
	if (kernel.params > 0 && !params) return CUDA_ERROR_INVALID_VALUE;
	count_kernel(kernel.name);
	const size_t limit = static_cast<size_t>(function->dynamic_limit > default_dynamic_limit ? largest_dynamic_limit() : default_dynamic_limit);
	return enqueue(stream, [&kernel, grid, block, shared, limit, kept = keep(kernel, params)] {
		switch (run_grid(kernel, grid, block, shared, limit, kept->pointers.data())) {
		case Outcome::done: return CUDA_SUCCESS;
		case Outcome::bad_address: return CUDA_ERROR_ILLEGAL_ADDRESS;
		case Outcome::failed: break;
		}
		return CUDA_ERROR_LAUNCH_FAILED;
	});
}
