#pragma once

#include <cstddef>
#include <cstdint>

#include "launch.h"

namespace softcuda {

struct Allocation;

enum class Touch { reads, writes, counts };  // counts: an atomic addition
// A kernel built for checking touches memory.
void touch(uintptr_t address, size_t bytes, Touch how);
// Bytes of an allocation's cells.
size_t cell_bytes(const Allocation *a);

struct Access {
	uint64_t block;
	Moment at;
	uint8_t bytes;    // of the word, a bit each; 0: there is no such access
	bool counts;      // an atomic addition
	uint16_t fences;  // that its thread had passed
};

// Whether a, which ran first, had to: by one thread's order, a barrier of the block, or one of the warp.
inline bool before(const Moment &a, const Moment &b) {
	return a.thread == b.thread || a.epoch < b.epoch || (a.thread / 32 == b.thread / 32 && a.warp_epoch < b.warp_epoch);
}
// The same of accesses of two blocks: by fences and tickets.
bool published(const Access &a, const Access &now);
// Whether the running block has taken any.
bool took_tickets();

}  // namespace softcuda
