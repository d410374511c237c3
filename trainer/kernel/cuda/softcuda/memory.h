// Device memory: every allocation lies between pages that may not be touched, its end against the one behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace softcuda {

constexpr int poison = 0xff;  // what unwritten bytes hold: as floats, NaN

struct Cell;

struct Allocation {
	uintptr_t base;
	size_t bytes;
	uintptr_t pages;  // the first page that may be touched
	size_t page_bytes;
	int device;            // -1: a SHARED array
	const void *owner;     // the context
	const char *name;      // of a SHARED array
	uint64_t serial;       // counts allocations, from 1
	bool freed;
	Cell *cells;  // who touched it, in the checking mode
};

// Memory for a device's allocation, poisoned, at a multiple of alignment, which is 16 or more: the widest access of a kernel; null: the address space is used up.
Allocation *allocate(size_t bytes, int device, const void *owner, const char *name, uintptr_t alignment = 16);
// Its addresses fault from now on, and are never given out again.
void release(Allocation *allocation);
// The allocation that address lies in or nearest to: freed ones too. Null: it is nowhere near one.
Allocation *nearest(uintptr_t address);
// The live allocation of device memory that holds all of [address, address + bytes), or null.
Allocation *holding(uintptr_t address, size_t bytes);
// Whether all of [address, address + bytes) lies in a SHARED array.
bool shared(uintptr_t address, size_t bytes);
// The live allocation that starts at address, or null.
Allocation *starting(uintptr_t address);
// Whether address is in what device memory and SHARED arrays are cut from.
bool in_arena(uintptr_t address);
// Bytes that are allocated on a device.
size_t used_bytes(int device);
// The live allocations of a context are freed.
void release_owned(const void *owner);
// In words where address lies: "4 bytes behind the end of allocation 3 (1024 bytes)".
std::string describe(uintptr_t address);
// Whether something wrote beside an allocation without touching a forbidden page; says which one.
bool overwritten(std::string *what);

}  // namespace softcuda
