// Initialisation and what is said of devices.
#include "driver.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>

namespace softcuda {

namespace {
std::recursive_mutex one_call;
bool called_init;

long number_of(const char *variable, long otherwise) {
	const char *text = std::getenv(variable);
	if (!text || !*text) return otherwise;
	char *end;
	const long value = std::strtol(text, &end, 10);
	if (*end == 0 && value >= 0) return value;
	say(std::string(variable) + "=" + text + " is no number: taken as " + std::to_string(otherwise));
	return otherwise;
}

// The boards that are visible, in the order of the devices. As the driver does it: the list ends at the first number that is no board.
std::vector<int> visible(int present) {
	std::vector<int> seen;
	const char *list = std::getenv("CUDA_VISIBLE_DEVICES");
	if (!list) {
		for (int i = 0; i < present; i++) seen.push_back(i);
		return seen;
	}
	std::istringstream words(list);
	for (std::string word; std::getline(words, word, ',');) {
		char *end;
		const long index = std::strtol(word.c_str(), &end, 10);
		if (word.empty() || *end || index < 0 || index >= present || std::count(seen.begin(), seen.end(), index)) break;
		seen.push_back(static_cast<int>(index));
	}
	return seen;
}

const std::vector<int> &boards() {
	static const std::vector<int> all = visible(static_cast<int>(number_of("SOFTCUDA_DEVICES", 1)));
	return all;
}

CUresult planted_in(const char *name) {
	static const char *const plan = std::getenv("SOFTCUDA_FAIL");
	if (!plan) return CUDA_SUCCESS;
	static char call[64];
	static int at, code;
	static const bool understood = std::sscanf(plan, "%63[^:]:%d:%d", call, &at, &code) == 3;
	if (!understood || std::strcmp(call, name)) return CUDA_SUCCESS;
	static int calls;
	if (++calls != at) return CUDA_SUCCESS;
	CUcontext context;
	if (current(&context) == CUDA_SUCCESS) context->error = static_cast<CUresult>(code);
	return static_cast<CUresult>(code);
}
}  // namespace

Call::Call(const char *name) : lock(one_call) {
	count_call(name);
	planted = planted_in(name);
}

bool initialised() { return called_init; }

int devices() { return static_cast<int>(boards().size()); }

// SOFTCUDA_CAPABILITY=75 is a device of compute capability 7.5, to try what is said of one that is too old.
int capability() {
	static const int n = static_cast<int>(number_of("SOFTCUDA_CAPABILITY", 90));
	return n;
}

int largest_dynamic_limit() {
	switch (capability()) {
	case 70: case 72: return 96 << 10;
	case 75: return 64 << 10;
	case 80: case 87: return 163 << 10;
	case 86: case 89: case 120: case 121: return 99 << 10;
	}
	return 227 << 10;
}

size_t device_bytes() {
	static const size_t n = static_cast<size_t>(number_of("SOFTCUDA_MEMORY", 4L << 30));
	return n;
}

}  // namespace softcuda

using namespace softcuda;

CUresult cuInit(unsigned flags) {
	Call call(__func__);
	if (call.planted != CUDA_SUCCESS) return call.planted;
	if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
	if (devices() == 0) return CUDA_ERROR_NO_DEVICE;
	called_init = true;
	return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
	Call call(__func__);
	if (!version) return CUDA_ERROR_INVALID_VALUE;
	*version = static_cast<int>(number_of("SOFTCUDA_VERSION", 13000));
	return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name) {
	static const std::map<int, const char *> names{
	    {CUDA_SUCCESS, "CUDA_SUCCESS"},
	    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
	    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
	    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
	    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
	    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
	    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
	    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
	    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
	    {CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE"},
	    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
	    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
	    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY"},
	    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
	    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
	    {CUDA_ERROR_CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED"},
	    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
	    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
	    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
	    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
	    {CUDA_ERROR_STREAM_CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE"},
	    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"},
	    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"},
	    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
	    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"},
	    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT"},
	    {CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"},
	    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE"},
	};
	Call call(__func__);
	if (!name) return CUDA_ERROR_INVALID_VALUE;
	const auto found = names.find(error);
	*name = found == names.end() ? nullptr : found->second;
	return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text) { return cuGetErrorName(error, text); }

#define ENTER_DEVICE(device) \
	ENTER();                 \
	if (device < 0 || device >= devices()) return CUDA_ERROR_INVALID_DEVICE

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
	ENTER_DEVICE(ordinal);
	if (!device) return CUDA_ERROR_INVALID_VALUE;
	*device = ordinal;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
	ENTER();
	if (!count) return CUDA_ERROR_INVALID_VALUE;
	*count = devices();
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
	ENTER_DEVICE(device);
	if (!name || length <= 0) return CUDA_ERROR_INVALID_VALUE;
	std::snprintf(name, static_cast<size_t>(length), "softcuda");
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
	ENTER_DEVICE(device);
	if (!uuid) return CUDA_ERROR_INVALID_VALUE;
	std::memset(uuid, 0, sizeof *uuid);
	std::memcpy(uuid->bytes, "softcuda", 8);
	const int board = boards()[static_cast<size_t>(device)];
	std::memcpy(uuid->bytes + 8, &board, sizeof board);
	return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
	ENTER_DEVICE(device);
	if (!bytes) return CUDA_ERROR_INVALID_VALUE;
	*bytes = device_bytes();
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
	// An H200's, except for its number of multiprocessors: more would make a kernel that fills the device slower, and nothing else.
	static const std::map<int, int> attributes{
	    {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 8},
	    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
	    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
	    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
	    {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32},
	    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
	    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
	    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
	    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
	    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
	    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
	    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, default_dynamic_limit},
	    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
	    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
	    {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
	    {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1980000},
	    {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 3201000},
	    {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 6144},
	    {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 60 << 20},
	    {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3},
	    {CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 1},
	    {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
	    {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
	    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
	    {CU_DEVICE_ATTRIBUTE_ECC_ENABLED, 1},
	    {CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1},
	};
	ENTER_DEVICE(device);
	if (!value || attribute <= 0 || attribute >= CU_DEVICE_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
	*value = 0;
	if (attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) *value = device + 1;
	if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) *value = capability() / 10;
	else if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) *value = capability() % 10;
	else if (attribute == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) *value = largest_dynamic_limit();
	else if (attribute == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) *value = largest_dynamic_limit() + 1024;
	else if (const auto found = attributes.find(attribute); found != attributes.end()) *value = found->second;
	return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
	ENTER_DEVICE(device);
	if (!can || peer < 0 || peer >= devices()) return CUDA_ERROR_INVALID_VALUE;
	*can = device != peer;
	return CUDA_SUCCESS;
}
