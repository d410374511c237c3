// Running a kernel over a grid.
#pragma once

#include <cstdint>
#include <string>

#include "twin.h"

namespace softcuda {

enum class Outcome { done, bad_address, failed };

// What the environment variable SOFTCUDA_CHECK asks for: a list, with commas, of these words.
struct Checks {
	bool races;  // "1": kernels built to report their accesses, held to have a barrier between what conflicts
	bool order;  // "order": blocks and threads run from the last to the first
	bool late;   // "late": what is enqueued runs when something waits for it, not at once
};
const Checks &checks();

// A moment of a thread: how many barriers its block, and its warp, had passed.
struct Moment {
	uint32_t epoch;
	uint16_t thread, warp_epoch;
};

struct Thread {
	enum State : uint8_t { fresh, running, at_barrier, at_warp, ready, ended } state;
	struct Fibre *fibre;
	uint3 place;
	const char *file;
	int line;
	// Of a warp's exchange:
	uint32_t mask;
	uint64_t value;
	int lane;  // the one to read from
	// In the checking mode:
	uint16_t fences;  // passed
	Moment fenced;    // the last
};

// Where all lanes of a warp come together.
struct Meeting {
	uint32_t came;  // the lanes that are there
	const char *file;
	int line;
};

// The launch that is going on.
struct Launch {
	const Kernel *kernel;
	void **params;
	uint64_t serial;
	uint64_t block;   // index in the grid
	uint32_t epoch;   // barriers passed by the block
	uint32_t warp_epoch[32];
	uint32_t ready[32];  // of each warp, the lanes in the state ready
	Meeting meeting[32];
	int threads;      // of a block
	int taken;        // threads that have begun
	int now;          // the thread that runs
	Thread thread[1024];
	Outcome outcome;
	size_t shared_bytes;   // of SHARED arrays that were met
	size_t dynamic_bytes;
	size_t shared_limit;   // of both
};
extern Launch launch;
extern bool launching;

// shared_limit: the bytes that SHARED arrays and dynamic_bytes may come to.
Outcome run_grid(const Kernel &kernel, uint3 grid, uint3 block, size_t dynamic_bytes, size_t shared_limit, void **params);
// Says why the launch fails, naming the thread that runs; nothing of it goes on then.
void fail(Outcome outcome, const std::string &why);
// The same from within a kernel, which it leaves.
[[noreturn]] void abandon(Outcome outcome, const std::string &why);
// "kernel k, block (0,0,0), thread (1,0,0)"
std::string here();
std::string name_thread(int thread);
// Leaves the running thread until it is ready again.
void wait(Thread::State state);
void make_ready(int thread);
Moment moment();
// Of words that all 32 lanes of a warp call together: whether the running thread is the last to come; else it has waited until that one had done what the word does.
bool last_of_warp(const char *word, const char *file, int line);
// Holds that a word's 16 bytes are at a multiple of 16 in shared memory.
void must_be_shared(const void *address, const char *word, const char *file, int line);

void catch_faults();
const Kernel *find_kernel(const char *name);
// Loads the kernels that lie beside this library, once; an error in words, or empty.
std::string load_kernels();

}  // namespace softcuda
