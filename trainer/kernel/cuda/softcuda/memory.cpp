#include "memory.h"

#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>

#include "races.h"

namespace softcuda {

namespace {
constexpr uintptr_t page = 4096;
constexpr size_t arena_bytes = size_t{1} << 40;  // of address space: nothing is ever given out twice
constexpr unsigned char beside = 0xa5;           // what the first page holds before the allocation, and the last bytes behind it

uintptr_t arena, arena_end, arena_next;
std::map<uintptr_t, Allocation *> allocations;  // by first page; what was freed too, to name it
std::set<Allocation *> living;
uint64_t serial;

bool reserve() {
	if (arena) return true;
	void *all = mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED) return false;
	arena = reinterpret_cast<uintptr_t>(all);
	arena_end = arena + arena_bytes;
	arena_next = arena + page;
	return true;
}

unsigned char *at(uintptr_t address) { return reinterpret_cast<unsigned char *>(address); }
}  // namespace

Allocation *allocate(size_t bytes, int device, const void *owner, const char *name, uintptr_t alignment) {
	if (!reserve()) return nullptr;
	const size_t page_bytes = (bytes + page - 1) / page * page;
	if (page_bytes < bytes || arena_next + page_bytes + page > arena_end) return nullptr;
	const uintptr_t pages = arena_next;
	if (mprotect(at(pages), page_bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
	arena_next += page_bytes + page;
	const uintptr_t base = (pages + page_bytes - bytes) / alignment * alignment;
	std::memset(at(pages), beside, base - pages);
	std::memset(at(base), poison, bytes);
	std::memset(at(base + bytes), beside, pages + page_bytes - base - bytes);
	auto *a = new Allocation{base, bytes, pages, page_bytes, device, owner, name, ++serial, false, nullptr};
	allocations[pages] = a;
	living.insert(a);
	return a;
}

void release(Allocation *a) {
	// A new mapping gives the pages back; the addresses stay forbidden.
	mmap(at(a->pages), a->page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (a->cells) munmap(a->cells, cell_bytes(a));
	a->cells = nullptr;
	a->freed = true;
	living.erase(a);
}

Allocation *nearest(uintptr_t address) {
	if (!in_arena(address)) return nullptr;
	auto after = allocations.upper_bound(address);
	Allocation *next = after == allocations.end() ? nullptr : after->second;
	if (after == allocations.begin()) return next;
	Allocation *before = std::prev(after)->second;
	const uintptr_t end = before->base + before->bytes;
	if (address < end || !next) return before;
	return address - end <= next->base - address ? before : next;
}

Allocation *holding(uintptr_t address, size_t bytes) {
	static Allocation *last;
	Allocation *a = last;
	if (!a || a->freed || address < a->base || address - a->base >= a->bytes) a = nearest(address);
	if (!a || a->freed || a->device < 0 || address < a->base || address - a->base > a->bytes || bytes > a->bytes - (address - a->base)) return nullptr;
	return last = a;
}

bool shared(uintptr_t address, size_t bytes) {
	static const Allocation *last;
	const Allocation *a = last;
	if (!a || a->freed || address < a->base || address - a->base >= a->bytes) a = nearest(address);
	if (!a || a->freed || a->device >= 0 || address < a->base || address - a->base > a->bytes || bytes > a->bytes - (address - a->base)) return false;
	last = a;
	return true;
}

Allocation *starting(uintptr_t address) {
	Allocation *a = nearest(address);
	return a && !a->freed && a->device >= 0 && a->base == address ? a : nullptr;
}

bool in_arena(uintptr_t address) { return address >= arena && address < arena_end && arena; }

size_t used_bytes(int device) {
	size_t used = 0;
	for (const Allocation *a : living)
		if (a->device == device) used += a->bytes;
	return used;
}

void release_owned(const void *owner) {
	const std::set<Allocation *> all = living;
	for (Allocation *a : all)
		if (a->device >= 0 && a->owner == owner) release(a);
}

std::string describe(uintptr_t address) {
	const Allocation *a = nearest(address);
	if (!a) {
		char text[64];
		std::snprintf(text, sizeof text, "address %#zx, which is no device memory", static_cast<size_t>(address));
		return text;
	}
	const std::string what = a->name ? "the shared array " + std::string(a->name) : "allocation " + std::to_string(a->serial);
	const std::string size = " (" + std::to_string(a->bytes) + " bytes)";
	if (address < a->base) return std::to_string(a->base - address) + " bytes before the start of " + what + size;
	const std::string offset = std::to_string(address - a->base);
	if (address - a->base >= a->bytes) return "byte " + offset + ", behind the end of " + what + size;
	return "byte " + offset + " of " + what + size + (a->freed ? ", which was freed" : "");
}

bool overwritten(std::string *what) {
	static const auto untouched = [] {
		std::array<unsigned char, page> bytes;
		bytes.fill(beside);
		return bytes;
	}();
	// Both are less than a page; every launch comes here.
	const auto changed = [&](uintptr_t from, uintptr_t to) {
		if (std::memcmp(at(from), untouched.data(), to - from) == 0) return false;
		while (*at(from) == beside) from++;
		*what = describe(from);
		return true;
	};
	for (const Allocation *a : living)
		if (changed(a->pages, a->base) || changed(a->base + a->bytes, a->pages + a->page_bytes)) return true;
	return false;
}

}  // namespace softcuda
