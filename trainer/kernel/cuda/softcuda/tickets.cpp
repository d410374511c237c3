// add_ticket and fence.
#include "launch.h"
#include "memory.h"
#include "races.h"

namespace softcuda {

int take_ticket(int *counter, const char *file, int line) {
	const uintptr_t at = reinterpret_cast<uintptr_t>(counter);
	if (at % 4 != 0 || !holding(at, 4)) abandon(Outcome::bad_address, std::string("add_ticket at ") + file + ":" + std::to_string(line) + " counts in device memory, and is given " + describe(at));
	if (checks().races) touch(at, 4, Touch::counts);
	return (*counter)++;
}

void pass_fence() {}

}  // namespace softcuda
