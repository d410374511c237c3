// What the 32 lanes of a warp do together. The last lane that comes computes what every lane gets, so that a lane that runs ahead
// to the next exchange overwrites nothing that another has yet to read.
#include <cstring>

#include "launch.h"

namespace softcuda {

namespace {
constexpr uint64_t undefined = ~uint64_t{0};  // what CUDA leaves open; a NaN

int first_of_warp() { return launch.now / 32 * 32; }

// The lanes of mask that this block has: the last warp may be cut short.
uint32_t present(uint32_t mask) {
	const int lanes = launch.threads - first_of_warp();
	return lanes >= 32 ? mask : mask & ((uint32_t{1} << lanes) - 1);
}

bool same_place(const char *file, int line, const char *other_file, int other_line) {
	return line == other_line && (file == other_file || std::strcmp(file, other_file) == 0);
}

// All lanes at once, which is nearly always: counted where they meet. Who comes to another place is not counted, and is told of when nothing goes on.
bool last_of_all(uint32_t all, const char *file, int line) {
	const int warp = launch.now / 32;
	Meeting &meeting = launch.meeting[warp];
	if (meeting.came == 0) {
		meeting.file = file;
		meeting.line = line;
	}
	if (same_place(file, line, meeting.file, meeting.line)) meeting.came |= uint32_t{1} << launch.now % 32;
	if (meeting.came != all) return false;
	meeting.came = 0;
	return true;
}

// Lanes of one mask, while those of another may meet elsewhere.
bool last_of_some(const Thread &self, int first) {
	for (int lane = 0; lane < 32; lane++) {
		if (!(self.mask >> lane & 1) || first + lane == launch.now) continue;
		const Thread &other = launch.thread[first + lane];
		if (other.state != Thread::at_warp || other.mask != self.mask || !same_place(self.file, self.line, other.file, other.line)) return false;
	}
	return true;
}

// Whether the running thread is the last of mask to come here; else it has waited, and what it gets lies in its value.
bool last_to_come(uint32_t mask, const char *file, int line) {
	Thread &self = launch.thread[launch.now];
	const int first = first_of_warp();
	if (!(mask >> (launch.now - first) & 1)) abandon(Outcome::failed, std::string("is no lane of the mask that it gives at ") + file + ":" + std::to_string(line));
	const uint32_t all = present(~uint32_t{0});
	self.mask = mask & all;
	self.file = file;
	self.line = line;
	if (!(self.mask == all ? last_of_all(all, file, line) : last_of_some(self, first))) {
		wait(Thread::at_warp);
		return false;
	}
	for (uint32_t others = self.mask & ~(uint32_t{1} << (launch.now - first)); others; others &= others - 1) make_ready(first + __builtin_ctz(others));
	return true;
}
}  // namespace

bool last_of_warp(const char *word, const char *file, int line) {
	if (present(~uint32_t{0}) != ~uint32_t{0})
		abandon(Outcome::failed, "calls " + std::string(word) + " at " + file + ":" + std::to_string(line) + ", which takes a warp of 32 lanes, and this one has " + std::to_string(launch.threads - first_of_warp()));
	return last_to_come(~uint32_t{0}, file, line);
}

void warp_barrier(uint32_t mask, const char *file, int line) {
	if (last_to_come(mask, file, line)) launch.warp_epoch[first_of_warp() / 32]++;
}

uint64_t warp_exchange(uint32_t mask, uint64_t value, Lane how, int by, int width, const char *file, int line) {
	Thread &self = launch.thread[launch.now];
	const int first = first_of_warp(), lane = launch.now - first;
	const int group = lane / width * width;
	self.value = value;
	// A lane that would read outside its group reads its own value.
	switch (how) {
	case Lane::index: self.lane = group + (by & (width - 1)); break;
	case Lane::up: self.lane = lane - by < group ? lane : lane - by; break;
	case Lane::down: self.lane = lane + by >= group + width ? lane : lane + by; break;
	case Lane::exclusive: self.lane = (lane ^ by) >= group + width ? lane : lane ^ by; break;
	}
	if (last_to_come(mask, file, line)) {
		uint64_t got[32];
		for (int l = 0; l < 32; l++) {
			if (!(self.mask >> l & 1)) continue;
			const int from = launch.thread[first + l].lane;
			got[l] = self.mask >> from & 1 ? launch.thread[first + from].value : undefined;
		}
		for (int l = 0; l < 32; l++)
			if (self.mask >> l & 1) launch.thread[first + l].value = got[l];
	}
	return self.value;
}

uint32_t warp_ballot(uint32_t mask, bool predicate, const char *file, int line) {
	Thread &self = launch.thread[launch.now];
	const int first = first_of_warp();
	self.value = predicate;
	if (last_to_come(mask, file, line)) {
		uint32_t lanes = 0;
		for (int l = 0; l < 32; l++)
			if (self.mask >> l & 1 && launch.thread[first + l].value) lanes |= uint32_t{1} << l;
		for (int l = 0; l < 32; l++)
			if (self.mask >> l & 1) launch.thread[first + l].value = lanes;
	}
	return static_cast<uint32_t>(self.value);
}

}  // namespace softcuda
