// SOFTCUDA_REPORT=FILE: which kernels ran and which calls were made, a line each:
//   kernel NAME COUNT
//   call NAME COUNT
// Each process adds its own lines. They are kept true at every moment, for a Go program ends without running what stands at exit.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "driver.h"

namespace softcuda {

namespace {
constexpr int digits = 12;

struct Line {
	off_t at;  // of the count, in the file
	uint64_t count;
};

void count(const char *kind, const char *name) {
	static const char *const file = std::getenv("SOFTCUDA_REPORT");
	if (!file || !*file) return;
	// Two descriptors: what is open for appending cannot be written elsewhere.
	static const int adds = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), changes = open(file, O_WRONLY | O_CLOEXEC);
	if (adds < 0 || changes < 0) {
		static const bool told = (say(std::string("cannot write the report ") + file), true);
		(void)told;
		return;
	}
	static auto *lines = new std::map<std::string, Line>;
	const std::string key = std::string(kind) + " " + name;
	auto [line, added] = lines->emplace(key, Line{0, 1});
	char number[digits + 1];
	if (added) {
		std::snprintf(number, sizeof number, "%*d", digits, 1);
		const std::string text = key + " " + number + "\n";
		if (write(adds, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return;
		line->second.at = lseek(adds, 0, SEEK_CUR) - digits - 1;
		return;
	}
	std::snprintf(number, sizeof number, "%*llu", digits, static_cast<unsigned long long>(++line->second.count));
	if (pwrite(changes, number, digits, line->second.at) != digits) return;
}
}  // namespace

void count_kernel(const char *name) { count("kernel", name); }
void count_call(const char *name) { count("call", name); }
void say(const std::string &text) { std::fprintf(stderr, "softcuda: %s\n", text.c_str()); }

}  // namespace softcuda
