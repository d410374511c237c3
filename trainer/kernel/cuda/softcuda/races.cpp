// Finds two threads of one launch that touch the same memory, one of them writing, with nothing between that orders them. Threads of
// one block are ordered by its barriers, lanes of one warp by __syncwarp too, and threads of two blocks by tickets alone (tickets.cpp). A GPU would give one
// result or another; the order in which softcuda runs threads would always give the same.
//
// For each word (4 bytes) the last write and two reads by different threads are kept: if any read conflicts with a later write, then one of
// the two does, unless the same words' bytes are read separately by three threads or more.
#include "races.h"

#include <sys/mman.h>

#include "launch.h"
#include "memory.h"

namespace softcuda {

struct Cell {
	uint64_t serial;  // of the launch that the rest is of
	Access write, read[2];
};

namespace {

bool ordered(const Access &a, const Access &b) {
	if (!(a.bytes & b.bytes) || (a.counts && b.counts)) return true;
	return a.block == b.block ? before(a.at, b.at) : published(a, b);
}

std::string name_access(const Access &a, const Access &now) {
	return name_thread(a.at.thread) + (a.block == now.block ? "" : " of another block");
}

[[noreturn]] void race(const Access &before, const char *did, const Access &now, const char *does, uintptr_t address) {
	const char *missing = before.block == now.block ? ", and no barrier lies between" : took_tickets() ? ", and no fences and tickets order the two blocks" : ", and nothing orders two blocks";
	abandon(Outcome::failed, std::string("data race: ") + does + " " + describe(address) + ", which " + name_access(before, now) + " " + did + missing);
}

void keep_read(Cell &cell, const Access &now) {
	for (Access &r : cell.read) {
		// What a barrier has ended can conflict with nothing in this block, and a later read of the same thread stands for it.
		const bool replaced = r.bytes == 0 || (r.block == now.block && (r.at.epoch != now.at.epoch || r.at.thread == now.at.thread));
		if (replaced) {
			const bool same = r.bytes && r.at.thread == now.at.thread && r.at.epoch == now.at.epoch;
			const uint8_t bytes = same ? r.bytes | now.bytes : now.bytes;
			r = now;
			r.bytes = bytes;
			return;
		}
	}
	cell.read[1] = now;
}

void touch_word(Cell &cell, const Access &now, Touch how, uintptr_t address) {
	static const char *const does[] = {"reads", "writes", "counts in"};
	static const char *const did[] = {"wrote", "counted in"};

	if (cell.serial != launch.serial) {
		cell = Cell{};
		cell.serial = launch.serial;
	}
	if (!ordered(cell.write, now)) race(cell.write, did[cell.write.counts], now, does[static_cast<int>(how)], address);
	if (how == Touch::reads) return keep_read(cell, now);
	for (const Access &r : cell.read)
		if (!ordered(r, now)) race(r, "read", now, does[static_cast<int>(how)], address);
	const bool more = cell.write.bytes && cell.write.block == now.block && cell.write.at.thread == now.at.thread && cell.write.at.epoch == now.at.epoch;
	const uint8_t bytes = more ? cell.write.bytes | now.bytes : now.bytes;
	cell.write = now;
	cell.write.bytes = bytes;
}

Cell *cells_of(Allocation *a) {
	if (!a->cells) {
		void *cells = mmap(nullptr, cell_bytes(a), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (cells == MAP_FAILED) abandon(Outcome::failed, "no memory to check " + describe(a->base));
		a->cells = static_cast<Cell *>(cells);
	}
	return a->cells;
}

}  // namespace

size_t cell_bytes(const Allocation *a) { return (a->bytes + 3) / 4 * sizeof(Cell); }

void touch(uintptr_t address, size_t bytes, Touch how) {
	if (!launching || !in_arena(address)) return;
	static Allocation *last;
	if (!last || last->freed || address < last->base || address - last->base >= last->bytes) last = nearest(address);
	Allocation *a = last;
	if (a->freed || address < a->base || address - a->base + bytes > a->bytes) abandon(Outcome::bad_address, (how == Touch::reads ? "reads " : "writes ") + describe(address));
	Access now{launch.block, moment(), 0, how == Touch::counts, launch.thread[launch.now].fences};
	// A shared array belongs to one block at a time, so that two blocks never meet in it.
	if (a->device < 0) now.block = block_serial;
	Cell *cells = cells_of(a);
	const uintptr_t offset = address - a->base;
	for (uintptr_t word = offset / 4; word * 4 < offset + bytes; word++) {
		now.bytes = 0;
		for (uintptr_t b = 0; b < 4; b++)
			if (word * 4 + b >= offset && word * 4 + b < offset + bytes) now.bytes |= 1 << b;
		Cell &cell = cells[word];
		if (a->device < 0 && cell.write.block != block_serial && cell.read[0].block != block_serial) cell = Cell{};
		touch_word(cell, now, how, address);
	}
}

}  // namespace softcuda
