// copy_async: a copy is made as late as a GPU may make it, in the copy_async_wait that covers it. Until then its 16 bytes of shared memory hold what unwritten memory does, NaNs: so that a missing commit,
// wait or barrier shows in the result, and a copy into what others still read does too. In the checking mode a copy reads and writes twice, when it begins and when it is made, by the thread that began it.
#include <cstring>
#include <vector>

#include "launch.h"
#include "memory.h"
#include "races.h"

namespace softcuda {

namespace {
struct Copy {
	void *to;
	const void *from;  // null: zeros
	int group;
};

// A thread's, of the block that it was last used in: what an earlier block left under way went with its shared memory.
struct Copies {
	uint64_t block;
	int groups;  // committed
	std::vector<Copy> under_way;
};
Copies copies[1024];

Copies &of_thread() {
	Copies &c = copies[launch.now];
	if (c.block != block_serial) {
		c.block = block_serial;
		c.groups = 0;
		c.under_way.clear();
	}
	return c;
}

void tell(const Copy &c) {
	if (!checks().races) return;
	if (c.from) touch(reinterpret_cast<uintptr_t>(c.from), 16, Touch::reads);
	touch(reinterpret_cast<uintptr_t>(c.to), 16, Touch::writes);
}
}  // namespace

void begin_copy(void *to, const void *from, bool copy, const char *file, int line) {
	must_be_shared(to, "copy_async", file, line);
	const uintptr_t source = reinterpret_cast<uintptr_t>(from);
	if (source % 16 != 0 || (copy && !holding(source, 16)))
		abandon(Outcome::bad_address, std::string("copy_async at ") + file + ":" + std::to_string(line) + " copies 16 bytes of device memory at a multiple of 16, and is given " + describe(source));
	Copies &c = of_thread();
	c.under_way.push_back({to, copy ? from : nullptr, c.groups});
	tell(c.under_way.back());
	std::memset(to, poison, 16);
}

void commit_copies() { of_thread().groups++; }

void wait_for_copies(int newest) {
	Copies &c = of_thread();
	size_t done = 0;
	for (; done < c.under_way.size() && c.under_way[done].group < c.groups - newest; done++) {
		const Copy &copy = c.under_way[done];
		tell(copy);
		if (copy.from)
			std::memcpy(copy.to, copy.from, 16);
		else
			std::memset(copy.to, 0, 16);
	}
	c.under_way.erase(c.under_way.begin(), c.under_way.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace softcuda
