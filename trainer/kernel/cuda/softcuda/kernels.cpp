// The table of kernels. They lie in a library of their own beside this one, or in the folder SOFTCUDA_KERNELS, built twice: plain, and so that each access is reported.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "launch.h"

namespace softcuda {

namespace {
std::map<std::string, Kernel> &table() {
	static auto *kernels = new std::map<std::string, Kernel>;
	return *kernels;
}
}  // namespace

void add_kernel(const Kernel &kernel) {
	if (!table().emplace(kernel.name, kernel).second) std::fprintf(stderr, "softcuda: two kernels are named %s: the first is kept\n", kernel.name);
}

const Kernel *find_kernel(const char *name) {
	const auto found = table().find(name);
	return found == table().end() ? nullptr : &found->second;
}

std::string load_kernels() {
	static bool loaded;
	if (loaded) return "";
	Dl_info self;
	if (!dladdr(reinterpret_cast<void *>(&load_kernels), &self) || !self.dli_fname) return "cannot tell where libcuda.so.1 lies";
	const std::string file = self.dli_fname;
	const char *elsewhere = std::getenv("SOFTCUDA_KERNELS");
	const std::string folder = elsewhere ? elsewhere : file.find('/') == std::string::npos ? "." : file.substr(0, file.rfind('/'));
	const std::string kernels = folder + (checks().races ? "/softcuda-kernels-check.so" : "/softcuda-kernels.so");
	if (!dlopen(kernels.c_str(), RTLD_NOW | RTLD_LOCAL)) return std::string(dlerror()) + ": build it with .ci/softcuda";
	loaded = true;
	return "";
}

}  // namespace softcuda
